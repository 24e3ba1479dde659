"""A rank that is killed costs the steps since the last checkpoint, and no bit of the result."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pointseg.cli.train import main
from tests.engine import killed_ranks
from tests.engine.runs import assert_same_run, write_config


def test_killed_ranks_start_again_and_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    config, whole = killed_ranks.prepare(tmp_path)
    # Soon enough that the run is not over by then.
    kills = killed_ranks.train_and_kill(config, tmp_path / "killed", random.Random(5), 1, 4.0)
    assert len(kills) == 1
    assert_same_run(whole, tmp_path / "killed")


def test_going_on_begins_continues_and_refuses_other_settings(
    tmp_path: Path, scannet_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = write_config(tmp_path, scannet_root), tmp_path / "run"
    line = ["--config", str(config), "--output", str(run), "--go-on", "--device", "cpu"]
    short = ["--set", "train.steps=1"]
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "ki')  # a run that was killed at once
    assert main([*line, *short]) == 0
    assert main([*line, *short]) == 0
    assert "going on after step 1" in capsys.readouterr().out
    assert main(line) == 2
    assert "trained with other settings" in capsys.readouterr().err
    assert main([*line, "--overwrite"]) == 2
    assert main(["--resume", str(run), "--go-on"]) == 2
    assert "--go-on needs --config and --output" in capsys.readouterr().err
