"""Run directories: what they hold, that nothing is overwritten unasked, and models from them."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console

from pointseg import experiment
from pointseg.cli.train import main
from pointseg.config import ConfigError
from pointseg.data import SCANNET20
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.logging import RunLog
from pointseg.engine.run_directory import RunDirectory, default_run_path
from pointseg.evaluation import SCANNET_RULE, ConfusionMatrix, SceneScore, SegReport, read_json
from pointseg.experiment import load_config, load_trained
from tests.engine.runs import metrics

SHORT = ["--set", "train.steps=2", "--device", "cpu"]


def test_it_holds_all_it_takes_to_run_again(tiny_config, tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--set", "train.tensorboard=true", "--output", str(run)]
    assert main(["--config", str(tiny_config), *SHORT, *options]) == 0
    printed = capsys.readouterr().out
    assert (run / "config.yaml").read_text(encoding="utf-8") in printed
    config = load_config(run / "config.yaml")
    assert config.train.steps == 2
    assert config == load_trained(run).config
    facts = json.loads((run / "run.json").read_text())
    assert {"pointseg", "torch", "numpy", "python"} == facts["versions"].keys()
    assert facts["command"] and facts["resumed"] == []
    labels = json.loads((run / "labels.json").read_text())
    assert labels["names"] == list(SCANNET20.names)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.pt", "last.pt"}
    assert list((run / "tensorboard").glob("events.*"))
    train_row, validation_row = metrics(run)[-2:]
    assert {"step", "loss", "loss_cross_entropy", "loss_lovasz", "lr", "grad_norm", "epoch"} < set(
        train_row
    )
    assert {"mean_iou", "accuracy", "mean_accuracy", "iou_chair"} < set(validation_row)


def test_a_run_is_never_overwritten_unasked(tiny_config, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine", encoding="utf-8")
    command = ["--config", str(tiny_config), *SHORT, "--output", str(run)]
    assert main(command) == 0
    before = (run / "metrics.jsonl").read_text()
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (run / "metrics.jsonl").read_text() == before
    assert main([*command, "--set", "train.seed=5", "--overwrite"]) == 0
    assert (run / "metrics.jsonl").read_text() != before
    assert (run / "notes.txt").read_text() == "mine"


def test_default_names_do_not_collide(tmp_path):
    first = default_run_path(str(tmp_path), "x")
    assert first.name.startswith("x_20")
    first.mkdir()
    from datetime import datetime

    stamp = datetime.strptime(first.name, "x_%Y%m%d-%H%M%S")
    assert default_run_path(str(tmp_path), "x", stamp) == tmp_path / f"{first.name}-2"


def test_resuming_is_noted_and_may_go_elsewhere(tiny_config, tmp_path, capsys):
    run, copy = tmp_path / "run", tmp_path / "copy"
    assert main(["--config", str(tiny_config), *SHORT, "--output", str(run)]) == 0
    assert main(["--resume", str(run), "--set", "train.steps=3"]) == 0
    (session,) = json.loads((run / "run.json").read_text())["resumed"]
    assert session["step"] == 2 and session["command"]
    assert load_config(run / "config.yaml").train.steps == 3
    moved = tmp_path / "moved.pt"
    (run / "checkpoints" / "last.pt").rename(moved)
    capsys.readouterr()
    assert main(["--resume", str(moved)]) == 2
    assert "--output" in capsys.readouterr().err
    resumed = ["--resume", str(moved), "--set", "train.steps=4", "--output", str(copy)]
    assert main(resumed) == 0
    assert [row["step"] for row in metrics(copy)] == [4, 4]
    assert (copy / "config.yaml").is_file() and (copy / "labels.json").is_file()
    assert main(resumed) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*resumed, "--overwrite"]) == 0
    assert [row["step"] for row in metrics(copy)] == [4, 4]


def test_an_evaluation_after_the_checkpoint_is_dropped(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create("", {}, [])
    for stored, evaluated_step, is_kept in (
        ({"step": 6}, 6, True),
        ({"step": 6}, 3, False),
        ({"checkpoint": "elsewhere.pt"}, 0, True),
    ):
        run.evaluation.write_text(json.dumps(stored), encoding="utf-8")
        run.reopen("", {}, [], step=6, evaluated_step=evaluated_step)
        assert run.evaluation.exists() == is_kept


def test_load_trained(tiny_config, tmp_path):
    run = tmp_path / "run"
    options = ["--set", "train.average_decay=0.5", "--output", str(run)]
    assert main(["--config", str(tiny_config), *SHORT, *options]) == 0
    trained = load_trained(run, ["data.root=/elsewhere"])
    assert trained.config.data.root == "/elsewhere"
    assert not trained.model.training
    assert trained.label_map.names == SCANNET20.names
    checkpoint = load_checkpoint(find_checkpoint(run, prefer="best.pt"))
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, checkpoint.average[name])
    with pytest.raises(ValueError, match=r"color, height \(4 channels\) in the checkpoint, color"):
        load_trained(run, ["data.features=[color]"])
    with pytest.raises(
        ValueError, match=r"another task:\n  features: color, height .*, height, color"
    ):
        load_trained(run, ["data.features=[height, color]"])
    with pytest.raises(ConfigError, match="did you mean 'data.voxel_size_m'"):
        load_trained(run, ["data.voxel_size=1"])


def test_augmentation_is_for_training_only(tiny_config):
    config = load_config(tiny_config)
    training = experiment.build_dataset(config, "val", training=True)
    plain = experiment.build_dataset(config, "val", training=False)
    assert len(training.transforms) == 3 and plain.transforms == ()
    loader = experiment.build_evaluation_loader(config, plain)
    assert [batch.scene_ids for batch in loader] == [(s,) for s in plain.scene_ids]


def report() -> SegReport:
    confusion = ConfusionMatrix.of([[2, 0, 0], [1, 0, 0]])
    made = SegReport.of(
        confusion, ("a", "b"), "single pass, raw points", SCANNET_RULE, ("room",), "val"
    )
    return made.with_scenes([SceneScore.of("room", confusion, SCANNET_RULE)])


def test_progress_on_a_terminal_and_elsewhere(tmp_path):
    values = {
        "loss": 1.5,
        "lr": 0.1,
        "other": float("nan"),
        "peak_memory_gib": 2.25,
        "step_time_s": 0.5,
        "scenes_per_s": 4.0,
        "points_per_s": 2.5e6,
        "time_s/data": 0.2,
    }
    shown = []
    for terminal in (True, False):
        run = RunDirectory(tmp_path / str(terminal))
        run.create("", {}, [])
        console = Console(force_terminal=terminal, record=True, width=120, file=io.StringIO())
        with RunLog(run, 10, console=console) as log:
            log.advance(5)
            log.train_row(5, values)
            log.validation(5, {"evaluation_time_s": 1.5}, report(), is_best=True)
        shown.append(console.export_text())
        assert metrics(run.path)[0]["other"] is None
        assert json.loads(run.evaluation.read_text())["step"] == 5
        assert read_json(run.evaluation, lambda name: SCANNET_RULE).scenes == report().scenes
    for text in shown:
        assert "loss 1.5000" in text and "4.00 scenes/s  2.5M points/s  2.25 GiB" in text
        assert "data 40 %" in text
        assert "mIoU 0.333 (single pass, raw points), accuracy 0.667, the best so far" in text
    assert "5/10" in shown[0]
    assert "step  5/10" in shown[1] and "left" in shown[1]
