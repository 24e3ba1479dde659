"""evaluate and export-preds from the command line to the files, on a tiny data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData

from pointseg.cli import evaluate, export_preds
from pointseg.data import SCANNET20

from ..helpers.scenes import VAL_IDS
from .oracle import accuracy_by_points, iou_by_sets, mean_of_present

ROOT = Path(__file__).resolve().parents[2]


def true_labels(root: Path, scene: str) -> np.ndarray:
    mesh = PlyData.read(root / "scans" / scene / f"{scene}_vh_clean_2.labels.ply")
    return np.asarray(mesh["vertex"]["label"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoint) -> Path:
    out = tmp_path_factory.mktemp("export") / "preds"
    argv = ["--checkpoint", str(checkpoint), "--out", str(out), "--format", "txt", "npy", "ply"]
    assert export_preds.main(argv) == 0
    return out


def test_scores_are_those_of_the_exported_files(checkpoint, small_root, exported, tmp_path, capsys):
    out = tmp_path / "scores"
    assert evaluate.main(["--checkpoint", str(checkpoint), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    stored = json.loads((out / "evaluation.json").read_text())
    pred, target = [], []
    for scene in VAL_IDS:
        lines = (exported / f"{scene}.txt").read_text().splitlines()
        pred += SCANNET20.to_train([int(line) for line in lines]).tolist()
        target += SCANNET20.to_train(true_labels(small_root, scene)).tolist()
    assert len(set(pred)) > 2  # else the comparison below says little
    iou = iou_by_sets(pred, target, 20)
    found = [np.nan if row["iou"] is None else row["iou"] for row in stored["classes"]]
    np.testing.assert_allclose(found, iou, rtol=1e-15)  # one float64 division
    assert stored["mean_iou"] == pytest.approx(mean_of_present(iou), rel=1e-14)
    assert stored["accuracy"] == pytest.approx(accuracy_by_points(pred, target, 20), rel=1e-14)
    assert stored["protocol"] == "single pass, raw points"
    assert (stored["split"], stored["scene_ids"]) == ("val", list(VAL_IDS))
    assert stored["num_points"] + stored["num_ignored"] == len(pred)
    assert printed.splitlines()[-1] == f"mIoU {stored['mean_iou']:.3f} (single pass, raw points)"
    assert stored["data"] == {
        "dataset": "scannet",
        "options": {},
        "num_scenes_in_release": 312,
        "voxel_size_m": 0.1,
        "train_split": "train",
        "trained_on": [],
    }
    assert "split val of scannet: 2 of 312 scenes" in printed
    assert (out / "confusion.html").stat().st_size > 1_000_000  # plotly itself is inside


def test_export_writes_all_formats_for_every_vertex(exported, small_root):
    names = {f"{scene}.{suffix}" for scene in VAL_IDS for suffix in ("txt", "npy", "ply")}
    assert {path.name for path in exported.iterdir()} == names
    for scene in VAL_IDS:
        num_vertices = len(true_labels(small_root, scene))
        train_ids = np.load(exported / f"{scene}.npy")
        assert train_ids.dtype == np.int16 and train_ids.shape == (num_vertices,)
        raw = [int(line) for line in (exported / f"{scene}.txt").read_text().splitlines()]
        np.testing.assert_array_equal(SCANNET20.to_train(raw), train_ids)


def test_check_passes_then_lists_every_fault(exported, small_root, tmp_path, capsys):
    argv = ["--dataset", "synthetic", "--root", str(small_root), "--split", "val", "--check"]
    assert export_preds.main([*argv, str(exported)]) == 0
    assert "2 of 2 scenes right" in capsys.readouterr().out
    (tmp_path / f"{VAL_IDS[0]}.txt").write_text("1\n77\n")
    assert export_preds.main([*argv, str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "2 labels, but the scene has" in captured.err
    assert "77 (1x)" in captured.err
    assert f"{VAL_IDS[1]}.txt: missing" in captured.err
    assert "3 problems" in captured.out


def test_prepared_scenes_are_enough_to_check(exported, small_root, capsys):
    argv = ["--root", str(small_root / "prepared"), "--partial", "--check", str(exported)]
    assert export_preds.main(argv) == 0


def test_nothing_is_overwritten_unasked(checkpoint, exported, tmp_path, capsys):
    argv = ["--checkpoint", str(checkpoint), "--out", str(exported)]
    assert export_preds.main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert export_preds.main([*argv, "--overwrite"]) == 0
    (tmp_path / "evaluation.json").write_text("mine")
    assert evaluate.main(["--checkpoint", str(checkpoint), "--out", str(tmp_path)]) == 2
    assert (tmp_path / "evaluation.json").read_text() == "mine"


def test_without_out_nothing_is_written(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(["--checkpoint", str(checkpoint), "--split", "train"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.splitlines()[-1].endswith("(single pass, raw points)")


def test_what_is_missing_is_said(checkpoint, tmp_path, capsys):
    assert export_preds.main(["--checkpoint", str(checkpoint)]) == 2
    assert "--out" in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", str(checkpoint), "--device", "tpu9"]) == 2
    assert "--device" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["evaluate", "export_preds", "predict"])
def test_tools_start_from_any_folder(tool, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--checkpoint" in done.stdout
