"""The clock of training: whose time is counted for what, and what it makes of it."""

from __future__ import annotations

import pytest
import torch
from torch import profiler

from pointseg.engine.step_clock import HostTime, StepClock, StreamTime
from tests.helpers.properties import given, settings, st


class FakeTime:
    """Passes only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def mark(self) -> float:
        return self.now_s

    def seconds(self, first: float, second: float) -> float:
        return second - first


def split(row: dict[str, float]) -> dict[str, float]:
    return {k.removeprefix("time_s/"): v for k, v in row.items() if k.startswith("time_s/")}


def test_phases_are_means_over_the_steps_since_the_last_row():
    time = FakeTime()
    clock = StepClock(time)
    time.now_s += 1000  # nothing has begun
    for data_s in (1.0, 3.0):
        with clock("data"):
            time.now_s += data_s
        time.now_s += 0.5
        with clock("forward"):
            time.now_s += 2
        clock.count_step(scenes=2, points=100)
    row = clock.read()
    assert split(row) == {"data": 2.0, "forward": 2.0, "other": 0.5}
    assert row["step_time_s"] == 4.5
    assert (row["scenes_per_s"], row["points_per_s"]) == pytest.approx((4 / 9, 200 / 9), rel=1e-4)
    time.now_s += 1  # after the row: of the next one
    clock.count_step(scenes=1, points=10)
    assert split(clock.read()) == {"other": 1.0}


def test_inner_phases_are_not_counted_twice():
    time = FakeTime()
    clock = StepClock(time)
    with clock("backward"):
        time.now_s += 1
        with clock("reduce"):
            time.now_s += 2
        time.now_s += 4
    clock.count_step()
    assert split(clock.read()) == {"backward": 5.0, "reduce": 2.0, "other": 0.0}


def test_throughput_leaves_evaluation_and_checkpoints_out():
    time = FakeTime()
    clock = StepClock(time)
    with clock("forward"):
        time.now_s += 2
    with clock("evaluation"):
        time.now_s += 50
        with clock("checkpoint"):
            time.now_s += 20
    clock.count_step(scenes=4)
    row = clock.read()
    assert (row["step_time_s"], row["scenes_per_s"]) == (2.0, 2.0)
    assert (row["time_s/evaluation"], row["time_s/checkpoint"]) == (50.0, 20.0)


def test_a_phase_that_fails_ends():
    time = FakeTime()
    clock = StepClock(time)
    with pytest.raises(KeyError), clock("forward"):
        time.now_s += 1
        raise KeyError
    time.now_s += 2
    clock.count_step()
    assert split(clock.read()) == {"forward": 1.0, "other": 2.0}


def test_a_row_needs_a_step():
    with pytest.raises(ValueError, match="no step was counted"):
        StepClock(FakeTime()).read()


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["data", "forward", "evaluation"]),
            st.integers(0, 2),
            st.integers(1, 9),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_phases_add_up_to_the_time_that_passed(visits):
    """However phases lie inside each other."""
    time = FakeTime()
    clock = StepClock(time)

    def visit(rest):
        if rest:
            (name, depth, duration), *others = rest
            with clock(name):
                time.now_s += duration
                visit(others[:depth])
            time.now_s += 1
            visit(others[depth:])

    visit(visits)
    begin_s, end_s = 100.0, time.now_s
    clock.count_step()
    assert sum(split(clock.read()).values()) == pytest.approx(end_s - begin_s)


class FakeEvent:
    """As torch.cuda.Event: times are known only to those who have waited."""

    now_ms = 0.0
    waits = 0

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing
        self.is_done = False

    def record(self, stream: str) -> None:
        assert stream == "stream of cuda:1"
        self.at_ms = FakeEvent.now_ms

    def synchronize(self) -> None:
        FakeEvent.waits += 1
        self.is_done = True

    def elapsed_time(self, end: FakeEvent) -> float:
        assert end.is_done
        return end.at_ms - self.at_ms


def test_on_a_gpu_nobody_waits_before_a_row_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    FakeEvent.now_ms, FakeEvent.waits = 0.0, 0
    clock = StepClock.of(torch.device("cuda:1"))
    for _ in range(2):
        with clock("forward"):
            FakeEvent.now_ms += 30
        FakeEvent.now_ms += 10
        clock.count_step(scenes=1)
    assert FakeEvent.waits == 0
    row = clock.read()
    assert split(row) == {"forward": 0.03, "other": 0.01}
    assert row["scenes_per_s"] == 25


def test_the_time_is_that_of_the_device():
    assert isinstance(StepClock.of(torch.device("cpu"))._time, HostTime)
    assert isinstance(StepClock.of(torch.device("cuda"))._time, StreamTime)


def test_traces_name_the_phases():
    clock = StepClock.of(torch.device("cpu"))
    with profiler.profile() as trace, clock("forward"):
        torch.zeros(3).sum()
    assert "forward" in {event.key for event in trace.key_averages()}
