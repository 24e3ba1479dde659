"""Rings, views and label files of lidar scans, from the command line, on a small drive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pointseg.cli import evaluate, export_preds

from ..data.drives import write_drive
from .conftest import write_checkpoint

LIDAR_FEATURES = ["xyz", "intensity", "range"]


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    write_drive(root, "00", num_scans=2)
    write_drive(root, "08", num_scans=2)
    return root


def lidar_checkpoint(path: Path, root: Path, about: str) -> list[str]:
    turn = {"name": "random_rotation", "max_yaw_deg": 180.0, "about": about}
    data = {"dataset": "streets", "transforms": [turn]}
    return ["--checkpoint", str(write_checkpoint(path, root, LIDAR_FEATURES, **data))]


@pytest.fixture(scope="module")
def model(tmp_path_factory, drive) -> list[str]:
    return lidar_checkpoint(tmp_path_factory.mktemp("origin") / "best.pt", drive, "origin")


def test_views_turn_about_what_training_turned_about(model, drive, tmp_path, capsys):
    assert evaluate.main([*model, "--tta", "rotate"]) == 0
    said = capsys.readouterr()
    assert "4 rotations, about the origin, votes" in said.out and "note" not in said.err
    assert evaluate.main([*model, "--tta", "rotate about=middle"]) == 0
    said = capsys.readouterr()
    assert "4 rotations, votes" in said.out
    assert "the model sees xyz and range, and views about the middle of the box move" in said.err
    middle = lidar_checkpoint(tmp_path / "middle.pt", drive, "middle")
    for views, moved in (("rotate", True), ("shift", False), ("rotate about=origin", False)):
        assert evaluate.main([*middle, "--tta", views]) == 0
        assert ("move the sensor" in capsys.readouterr().err) == moved


def test_rings_are_of_scans_with_the_sensor_at_their_origin(model, checkpoint, tmp_path, capsys):
    assert evaluate.main([*model, "--rings", "0", "30", "--out", str(tmp_path)]) == 0
    assert "distance from the sensor (origin of the file)" in capsys.readouterr().out
    stored = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert list(stored["parts"]) == ["0-30 m", "from 30 m"]
    assert sum(p["num_points"] for p in stored["parts"].values()) == stored["num_points"]
    assert evaluate.main([*model, "--rings", "5"]) == 2
    assert "ascending distances" in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", str(checkpoint), "--rings"]) == 2
    assert "scenes of 'scannet' do not have one at their origin" in capsys.readouterr().err


def test_joined_sweeps_are_named(model, capsys):
    assert evaluate.main([*model, "--set", "data.options.num_sweeps=2"]) == 0
    assert "split val of streets (num_sweeps 2): 2 scenes" in capsys.readouterr().out
    assert evaluate.main([*model, "--set", "data.dataset=semantickitti"]) == 0
    said = capsys.readouterr()
    assert "split val of semantickitti: 2 of 4071 scenes" in said.out
    assert "note: split 'val' has 4071 scenes in the complete release, but only 2" in said.err


def test_label_files_are_told_from_submissions(model, drive, tmp_path, capsys):
    assert export_preds.main([*model, "--out", str(tmp_path / "labels")]) == 0
    check = ["--check", str(tmp_path / "labels"), "--dataset", "streets", "--root", str(drive)]
    assert export_preds.main(check) == 1
    said = capsys.readouterr().err
    assert "08_000000.txt: a label file of `export-preds --out`; --submission writes what" in said
