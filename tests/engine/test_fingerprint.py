"""Weights are refused for another task, new runs begin with those of an old one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pointseg.cli.train import main
from pointseg.engine.checkpoint import (
    Checkpoint,
    load_checkpoint,
    pack_label_map,
    save_checkpoint,
)
from pointseg.engine.fingerprint import Fingerprint
from pointseg.experiment import build_model, fingerprint, load_config
from tests.engine.runs import metrics
from tests.helpers.scenes import write_scannet_root

ROOMS = Fingerprint(
    classes=("wall", "floor", "chair"),
    in_channels=4,
    features=("color", "height"),
    voxel_size_m=0.02,
    model="minkunet",
    model_options={"depths": [1, 1], "stem_kernel": 3},
    pointseg="1.0",
)


def test_the_same_task_has_no_conflicts_and_no_changes():
    assert ROOMS.conflicts(ROOMS) == [] and ROOMS.changes(ROOMS) == []
    ROOMS.check(ROOMS, "it")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"classes": ("wall", "floor", "table", "lamp")},
            "classes: 3 in the checkpoint, 4 now; only in the checkpoint: chair; "
            "only now: table, lamp",
        ),
        (
            {"classes": ("wall", "chair", "floor")},
            "classes: 3 in the checkpoint, 3 now; in another order: class 1 is floor in the "
            "checkpoint, chair now",
        ),
        (
            {"features": ("height", "color")},
            "features: color, height (4 channels) in the checkpoint, height, color (4 channels) "
            "now",
        ),
    ],
)
def test_another_task_is_refused_by_name(change, expected):
    now = dataclasses.replace(ROOMS, **change)
    with pytest.raises(ValueError) as refused:
        ROOMS.check(now, "best.pt")
    assert str(refused.value).splitlines() == [
        "best.pt was trained on another task:",
        f"  {expected}",
    ]


def test_what_weights_can_be_used_under_is_told_as_a_change():
    options = {"depths": [1, 1], "stem_width": 8}
    now = dataclasses.replace(ROOMS, voxel_size_m=0.05, model_options=options, pointseg="1.1")
    assert ROOMS.conflicts(now) == []
    assert ROOMS.changes(now) == [
        "voxel_size_m: 0.02 in the checkpoint, 0.05 now",
        "pointseg: 1.0 in the checkpoint, 1.1 now",
        "model.stem_kernel: 3 in the checkpoint, not set now",
        "model.stem_width: not set in the checkpoint, 8 now",
    ]


@pytest.fixture
def trained(tiny_config, tmp_path):
    """A checkpoint of that configuration with random weights, its classes in the usual order."""
    from pointseg import config as configuration
    from pointseg.data import SCANNET20

    config = load_config(tiny_config)
    torch.manual_seed(1)
    checkpoint = Checkpoint(
        model=build_model(config, SCANNET20).state_dict(),
        config=configuration.to_dict(config),
        label_map=pack_label_map(SCANNET20),
        in_channels=4,
        step=5,
        fingerprint=fingerprint(config, SCANNET20).to_dict(),
    )
    path = tmp_path / "trained.pt"
    save_checkpoint(checkpoint, path)
    return path


def test_it_is_stored_and_follows_from_the_configuration_in_the_first_format(trained):
    checkpoint = load_checkpoint(trained)
    stored = Fingerprint.of(checkpoint)
    assert stored.classes == tuple(checkpoint.label_map["names"])
    assert stored.features == ("color", "height") and stored.model_options["widths"] == [8, 8]
    first = dataclasses.replace(checkpoint, fingerprint={}, versions={}, format_version=1)
    derived = dataclasses.replace(stored, pointseg="unknown", format_version=1)
    assert Fingerprint.of(first) == derived


def begin(trained, config, run, *words: str) -> int:
    short = ["--set", "train.steps=1", "--set", "train.batch_size=1", "--set", "train.accumulate=1"]
    command = ["--config", str(config), *short, "--init-from", str(trained), *words]
    return main([*command, "--device", "cpu", "--output", str(run)])


def test_a_new_run_begins_with_the_weights_of_another(trained, tiny_config, tmp_path, capsys):
    """A learning rate near 0 leaves them as they are."""
    run = tmp_path / "run"
    assert begin(trained, tiny_config, run, "--set", "optimizer.lr=1e-12") == 0
    assert f"weights of {trained}, after 5 steps" in capsys.readouterr().out
    begun, source = load_checkpoint(run / "checkpoints" / "last.pt"), load_checkpoint(trained)
    assert begun.step == 1 and metrics(run)[0]["step"] == 1
    for name, value in source.model.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(begun.model[name], value, rtol=0, atol=1e-9)


def test_weights_that_do_not_fit_are_refused_or_left_out(trained, tiny_config, tmp_path, capsys):
    run = tmp_path / "run"
    other = ["--set", "data.features=[color]", "--set", "train.tensorboard=false"]
    assert begin(trained, tiny_config, run, *other) == 2
    assert "features: color, height (4 channels) in the checkpoint" in capsys.readouterr().err
    wider = ["--set", "model.stem_width=16"]
    assert begin(trained, tiny_config, run, *wider) == 2
    told = capsys.readouterr().err
    assert "written by another model" in told and "of another shape in the file: stem" in told
    assert not run.exists()
    assert begin(trained, tiny_config, run, *other, "--partial") == 0
    told = capsys.readouterr().out
    assert "after 5 steps: " in told and "entries fit" in told
    assert "1 of another shape in the file: stem" in told


def test_init_from_goes_with_config_and_partial_with_init_from(trained, tiny_config, capsys):
    assert main(["--resume", str(trained), "--init-from", str(trained)]) == 2
    assert "give --config with it" in capsys.readouterr().err
    assert main(["--config", str(tiny_config), "--partial"]) == 2
    assert "give both" in capsys.readouterr().err


def test_resuming_under_another_task_is_refused(trained, tmp_path, capsys):
    root = write_scannet_root(tmp_path / "data")
    sets = ["--set", f"data.root={root}", "--set", "data.features=[height, color]"]
    assert main(["--resume", str(trained), *sets, "--output", str(tmp_path / "run")]) == 2
    assert "the checkpoint was trained on another task" in capsys.readouterr().err
