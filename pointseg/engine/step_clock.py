"""Where the time of training goes: seconds by phase, and throughput, between two logged rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.profiler import record_function

OTHER = "other"
PAUSES = ("evaluation", "checkpoint")
"""Phases that are no part of a training step: throughput leaves them out."""
PREFIX = "time_s/"


class TimeSource(Protocol):
    """A way to take the time."""

    def mark(self) -> Any:
        """A moment: now."""

    def seconds(self, first: Any, second: Any) -> float:
        """Time between two moments."""


class HostTime:
    """The time of the host, for work that is done when a call returns."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, first: float, second: float) -> float:
        return second - first


class StreamTime:
    """The time of a GPU's current stream: an event there for every moment.

    The host does not wait when it marks a moment, only where it asks for the time between two. A
    phase in which the host keeps the stream without work, such as waiting for data, is as long as
    the stream was idle: what the GPU has still to do meanwhile costs nothing and is not counted.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, first: torch.cuda.Event, second: torch.cuda.Event) -> float:
        second.synchronize()
        return first.elapsed_time(second) / 1000


class StepClock:
    """Divides the time since its first phase among phases: ``with clock("forward"): ...``.

    Phases may be inside each other; the time of the inner one is not counted for the outer one, so
    that the seconds of all phases, ``other`` included, add up to the time that has passed. In a
    trace of torch.profiler the phases have their names.
    """

    def __init__(self, time_source: TimeSource) -> None:
        self._time = time_source
        self._running = [OTHER]
        self._marks: list[tuple[str, Any]] = []  # each phase that began, and when
        self._steps = 0
        self._counts: dict[str, int] = {}

    @staticmethod
    def of(device: torch.device) -> StepClock:
        """The clock of a device: of its stream where it is a GPU."""
        return StepClock(StreamTime(device) if device.type == "cuda" else HostTime())

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the time inside for ``phase``."""
        self._running.append(phase)
        self._mark()
        try:
            with record_function(phase):
                yield
        finally:
            self._running.pop()
            self._mark()

    def count_step(self, **counts: int) -> None:
        """One more step, over so many scenes, voxels and points."""
        self._steps += 1
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def read(self) -> dict[str, float]:
        """Numbers of the steps since the last call: step_time_s, each count a second (both without
        evaluation and checkpoints), and ``time_s/<phase>``, mean seconds a step.

        ValueError where no step was counted.
        """
        if not self._steps:
            raise ValueError("no step was counted since the clock was read last")
        self._mark()
        seconds = self._seconds()
        training = max(sum(s for phase, s in seconds.items() if phase not in PAUSES), 1e-9)
        row = {
            "step_time_s": training / self._steps,
            **{f"{name}_per_s": count / training for name, count in self._counts.items()},
            **{f"{PREFIX}{phase}": s / self._steps for phase, s in seconds.items()},
        }
        self._marks = self._marks[-1:]
        self._steps = 0
        self._counts = {}
        return {name: float(f"{value:.5g}") for name, value in row.items()}

    def _mark(self) -> None:
        self._marks.append((self._running[-1], self._time.mark()))

    def _seconds(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for (phase, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            seconds[phase] = seconds.get(phase, 0.0) + self._time.seconds(begin, end)
        return seconds
