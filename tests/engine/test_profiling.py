"""Traces of training steps."""

from __future__ import annotations

import json

import pytest
import torch

from pointseg.cli.train import main
from pointseg.engine.profiling import StepProfiler

CPU = torch.device("cpu")


def test_a_run_with_a_trace_goes_on_to_its_end(tiny_config, tmp_path, capsys):
    run = tmp_path / "run"
    sets = ("evaluate_every=0", "batch_size=1", "accumulate=1")
    options = [part for key in sets for part in ("--set", f"train.{key}")]
    options += ["--output", str(run), "--device", "cpu", "--profile", "2"]
    assert main(["--config", str(tiny_config), *options]) == 0
    printed = capsys.readouterr().out
    assert "done after 7 steps" in printed
    assert "The 10 heaviest operators, by CPU time" in printed
    (path,) = (run / "profile").iterdir()
    assert path.name == "steps_5-6.json"
    events = [event.get("name") for event in json.loads(path.read_text())["traceEvents"]]
    assert {"data", "forward", "backward", "optimizer", "ProfilerStep#4", "ProfilerStep#5"} <= {
        *events
    }
    assert not {"ProfilerStep#3", "ProfilerStep#6", "evaluation"} & {*events}
    assert any(name and name.startswith("pointseg::sparse_conv") for name in events)


@pytest.mark.parametrize(
    ("steps_done", "written"),
    [(3, []), (4, []), (5, ["steps_15-15.json"]), (9, ["steps_15-17.json"])],
)
def test_a_run_that_ends_early_has_what_was_recorded(tmp_path, steps_done, written):
    shown: list[object] = []
    with StepProfiler(tmp_path / "profile", 3, 10, CPU, shown.append) as profiler:
        for _ in range(steps_done):
            torch.zeros(4).sum()
            profiler.step()
    assert [path.name for path in (tmp_path / "profile").glob("*")] == written
    if not written:
        assert shown == ["no trace: the first step to record was 15"]


def test_steps_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="--profile must be at least 1 step, got 0"):
        StepProfiler(tmp_path, 0, 0, CPU, print)
