"""Training and evaluating in 16 bits, through the commands; on the CPU as on a GPU."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from pointseg.cli import evaluate, export_preds
from pointseg.cli.train import main
from pointseg.engine import trainer
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.precision import autocast, new_scaler
from pointseg.models.minkunet import MinkUNet
from tests.engine.runs import assert_same_run, metrics
from tests.engine.test_resume import interrupt_after

CPU = ("--device", "cpu")


def train(*arguments: object) -> None:
    assert main([*map(str, arguments), *CPU]) == 0


@pytest.fixture
def seen_dtypes(monkeypatch: pytest.MonkeyPatch) -> set[tuple[bool, torch.dtype]]:
    """(training, dtype of the logits) of every forward pass."""
    seen = set()
    forward = MinkUNet.forward

    def watched(self: MinkUNet, x: Any) -> torch.Tensor:
        logits = forward(self, x)
        seen.add((self.training, logits.dtype))
        return logits

    monkeypatch.setattr(MinkUNet, "forward", watched)
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_run_computes_in_its_precision_and_keeps_float32(
    dtype: torch.dtype, tiny_config: Path, tmp_path: Path, seen_dtypes: set
) -> None:
    precision, run = str(dtype).removeprefix("torch."), tmp_path / "run"
    settings = ("--set", f"train.precision={precision}", "--set", "train.steps=4")
    train("--config", tiny_config, *settings, "--output", run)
    assert seen_dtypes == {(True, dtype), (False, dtype)}
    checkpoint = load_checkpoint(find_checkpoint(run))
    floating = [v for v in checkpoint.model.values() if v.is_floating_point()]
    assert {v.dtype for v in floating} == {torch.float32}
    assert all(bool(torch.isfinite(v).all()) for v in floating)
    assert bool(checkpoint.scaler) == (dtype == torch.float16)
    seen_dtypes.clear()
    out = tmp_path / "scores"
    assert evaluate.main(["--checkpoint", str(run), "--out", str(out), *CPU]) == 0
    assert export_preds.main(["--checkpoint", str(run), "--out", str(tmp_path / "l"), *CPU]) == 0
    assert seen_dtypes == {(False, dtype)}
    # What the trainer found and what the command finds of the best checkpoint, folded.
    best = max(row["mean_iou"] for row in metrics(run) if row["kind"] == "validation")
    found = json.loads((out / "evaluation.json").read_text())["mean_iou"]
    assert found == pytest.approx(best, abs=1e-6 if dtype == torch.float32 else 0.05)
    seen_dtypes.clear()
    other = ["--set", "train.precision=float32"]
    assert evaluate.main(["--checkpoint", str(run), *other, *CPU]) == 0
    assert seen_dtypes == {(False, torch.float32)}


def test_a_run_in_float16_goes_on_with_the_scale_it_had(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = ("--set", "train.precision=float16", "--set", "train.evaluate_every=0")
    train("--config", tiny_config, *settings, "--output", whole)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4, signal.SIGTERM)
        train("--config", tiny_config, *settings, "--output", parts)
    train("--resume", parts)
    assert_same_run(whole, parts)


def test_a_step_whose_gradients_overflow_is_left_out() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = new_scaler("float16", torch.device("cpu"))
    scale = scaler.get_scale()
    scaler.scale(weight.sum() * float("inf")).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert float(weight.detach()) == 1.0
    assert scaler.get_scale() == scale / 2


def test_an_overflow_moves_neither_weights_nor_their_average_and_is_counted(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step overflows; the schedule, which follows the number of the step, goes on."""
    whole, run = tmp_path / "float32", tmp_path / "float16"
    settings = [
        word
        for key in ("steps=4", "average_decay=0.5", "evaluate_every=0", "accumulate=2")
        for word in ("--set", f"train.{key}")
    ]
    train("--config", tiny_config, *settings, "--output", whole)

    def scaler_too_high(precision: str, device: torch.device) -> torch.amp.GradScaler:
        assert precision == "float16"
        return torch.amp.GradScaler(device.type, init_scale=2.0**40, backoff_factor=2.0**-32)

    averaged = 0
    update_parameters = AveragedModel.update_parameters

    def counted(self: AveragedModel, model: torch.nn.Module) -> None:
        nonlocal averaged
        averaged += 1
        update_parameters(self, model)

    monkeypatch.setattr(trainer, "new_scaler", scaler_too_high)
    monkeypatch.setattr(AveragedModel, "update_parameters", counted)
    train("--config", tiny_config, *settings, "--set", "train.precision=float16", "--output", run)
    rows = [row for row in metrics(run) if row["kind"] == "train"]
    expected = [row for row in metrics(whole) if row["kind"] == "train"]
    assert [row["skipped_steps"] for row in rows] == [1, 1, 1, 1]
    assert [row["skipped_steps"] for row in expected] == [0, 0, 0, 0]
    assert [row["lr"] for row in rows] == [row["lr"] for row in expected]
    checkpoint = load_checkpoint(find_checkpoint(run))
    assert averaged == 3
    assert {float(state["step"]) for state in checkpoint.optimizer["state"].values()} == {3.0}
    assert (checkpoint.step, checkpoint.skipped_steps) == (4, 1)


def test_float32_is_no_autocast_and_no_scaler() -> None:
    device = torch.device("cpu")
    with autocast("float32", device):
        assert not torch.is_autocast_enabled("cpu")
    assert not new_scaler("bfloat16", device).is_enabled()


def test_unknown_precision_is_refused(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--config", str(tiny_config), "--set", "train.precision=half", *CPU]
    assert main([*argv, "--output", str(tmp_path / "run")]) == 2
    assert "precision must be one of float32, bfloat16, float16" in capsys.readouterr().err


def test_every_row_tells_the_peak_of_the_memory(tiny_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train("--config", tiny_config, "--set", "train.steps=2", "--output", run)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    assert len(rows) == 2
    assert all(0.05 < row["peak_memory_gib"] < 64 for row in rows)
