"""Runs of the command on several ranks: resumed equals uninterrupted, and rank 0 alone writes."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from pointseg import models
from pointseg.cli.train import main
from pointseg.distributed import rank
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.logging import RankLog
from tests.engine.runs import assert_same_run, assert_same_state, metrics, write_config
from tests.engine.test_resume import NoisyNet
from tests.helpers.ranks import on_ranks

STOPPED = 2


def train(config: Path, folder: Path) -> list[int]:
    """The whole run; the same with a signal to rank 1 alone after a step; and what goes on."""
    models.MODELS["noisy"] = NoisyNet  # type: ignore[assignment]
    port = int(os.environ["MASTER_PORT"])

    def run(number: int, *arguments: str) -> int:
        os.environ["MASTER_PORT"] = str(port + number)  # every start has its own
        return main([*arguments, "--device", "cpu"])

    settings = [f"--set={s}" for s in ("model=noisy", "train.steps=5", "train.average_decay=0.9")]
    begin = ("--config", str(config), *settings, "--output")
    codes = [run(0, *begin, str(folder / "whole"))]
    advance = RankLog.advance

    def advance_and_interrupt(self: RankLog, step: int) -> None:
        advance(self, step)
        if step == STOPPED and rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    RankLog.advance = advance_and_interrupt  # type: ignore[method-assign]
    codes.append(run(1, *begin, str(folder / "parts")))
    RankLog.advance = advance  # type: ignore[method-assign]
    if os.environ["RANK"] == "0":  # the group has ended
        shutil.copytree(folder / "parts", folder / "stopped")
    codes.append(run(2, "--resume", str(folder / "parts"), "--set=data.num_workers=2"))
    return codes


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, scannet_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    config = write_config(folder, scannet_root)
    assert on_ranks(train, 2, config, folder) == [[0, 0, 0]] * 2
    return folder


def test_resumed_equals_uninterrupted(runs: Path) -> None:
    stopped = load_checkpoint(find_checkpoint(runs / "stopped"))
    assert stopped.step == STOPPED
    assert stopped.epoch * 3 + stopped.index_in_epoch == STOPPED * 2 * 2 * 2  # of all ranks
    assert_same_run(runs / "whole", runs / "parts")
    assert [row["step"] for row in metrics(runs / "parts") if row["kind"] == "validation"] == [3, 5]


def test_ranks_draw_different_numbers(runs: Path) -> None:
    checkpoint = load_checkpoint(find_checkpoint(runs / "whole"))
    (other,) = checkpoint.other_random_states
    with pytest.raises(AssertionError):
        assert_same_state(other["torch"], checkpoint.random_state["torch"])


def test_rank_0_alone_writes(runs: Path) -> None:
    names = sorted(path.name for path in (runs / "whole").iterdir())
    files = ["config.yaml", "evaluation.json", "labels.json", "metrics.jsonl", "run.json"]
    assert names == ["checkpoints", *files]
    steps = [row["step"] for row in metrics(runs / "whole") if row["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5]


def test_another_number_of_ranks_goes_on_with_a_warning(
    runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry: dict[str, Any] = models.MODELS
    monkeypatch.setitem(registry, "noisy", NoisyNet)
    with caplog.at_level(logging.WARNING):
        assert main(["--resume", str(runs / "stopped"), "--device", "cpu"]) == 0
    assert "a run with 2 ranks, and this one has 1" in caplog.text
    done = load_checkpoint(find_checkpoint(runs / "stopped"))
    assert (done.step, done.other_random_states) == (5, [])
    # two steps of eight scenes, then three of four
    assert done.epoch * 3 + done.index_in_epoch == 2 * 8 + 3 * 4
