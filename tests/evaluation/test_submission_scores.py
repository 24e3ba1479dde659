"""Submissions scored offline, and `export-preds` from a model to a checked, scored zip."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import evaluate, export_preds
from pointseg.data import LabelMap, PointCloud
from pointseg.evaluation import SCANNET_RULE, read_submission, score_submission
from pointseg.evaluation.submission import SCANNET

from ..helpers.scenes import VAL_IDS
from .oracle import iou_by_sets
from .submissions import CASES

KITTI = CASES["semantickitti"]


@dataclass(frozen=True)
class Clouds:
    clouds: tuple[PointCloud, ...]
    label_map: LabelMap

    @property
    def scene_ids(self) -> tuple[str, ...]:
        return tuple(cloud.scene_id for cloud in self.clouds)

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, index: int) -> PointCloud:
        return self.clouds[index]


def scan(scene_id: str, labels: list[int] | None, **fields) -> PointCloud:
    size = KITTI.scenes[scene_id] if labels is None else len(labels)
    labels = None if labels is None else np.array(labels, dtype=np.int16)
    return PointCloud(scene_id, np.zeros((size, 3), np.float32), labels=labels, **fields)


def score(path: Path, *clouds: PointCloud):
    scenes = Clouds(clouds, KITTI.label_map)
    return score_submission(path, scenes, KITTI.format, "test", SCANNET_RULE)


def test_scores_are_those_of_the_labels_of_the_scene_of_that_name(tmp_path):
    path = KITTI.write(tmp_path / "s.zip")
    labels = KITTI.predictions()
    true = {"12_000000": [2, -1, 0], "11_000000": [0, 1, 1, 2]}  # another order than the zip's
    report = score(path, *(scan(*item) for item in true.items()))
    pred = np.concatenate([labels[scene_id] for scene_id in true])
    expected = iou_by_sets(pred.tolist(), [*true["12_000000"], *true["11_000000"]], 3)
    np.testing.assert_allclose(report.iou, expected, rtol=1e-15)
    assert report.protocol == "submitted labels, raw points"
    assert (report.scene_ids, report.num_points, report.num_ignored) == (tuple(true), 6, 1)


def test_points_of_other_scans_are_not_scored(tmp_path):
    path = KITTI.write(tmp_path / "s")
    own = KITTI.predictions()["11_000001"].tolist()
    context = np.array([True, False, True, False])
    cloud = scan("11_000001", [0, own[0], 1, own[1]], context=context)
    assert score(path, cloud).accuracy == 1.0


def test_ids_of_moving_objects_count_as_their_class(tmp_path):
    path = KITTI.write(tmp_path / "s")
    file = path / "sequences/11/predictions/000001.label"
    np.array([252 | 5 << 16, 11], "<u4").tofile(file)
    assert score(path, scan("11_000001", [0, 1])).accuracy == 1.0


def test_what_cannot_be_scored_is_said(tmp_path):
    path = KITTI.write(tmp_path / "s")
    with pytest.raises(ValueError, match="11_000000 has no labels to score against"):
        score(path, scan("11_000000", None))
    with pytest.raises(ValueError, match="4 labels, but the scene has 3 points"):
        score(path, scan("11_000000", [0, 0, 0]))
    with pytest.raises(ValueError, match=r"sequences/13/predictions/000000\.label: missing"):
        score(path, scan("13_000000", [0]))
    (path / "sequences/11/predictions/000000.label").write_bytes(b"12345")
    with pytest.raises(ValueError, match=r"000000\.label: 5 bytes are no whole number"):
        score(path, scan("11_000000", [0]))


# -- the command ------------------------------------------------------------------------------


def test_a_models_labels_are_zipped_checked_and_scored(checkpoint, small_root, tmp_path, capsys):
    path, out = tmp_path / "submission.zip", tmp_path / "labels"
    argv = ["--checkpoint", str(checkpoint), "--submission", str(path), "--partial"]
    assert export_preds.main([*argv, "--out", str(out)]) == 0
    assert f"wrote the labels of 2 scenes (5,834 points) to {path}" in capsys.readouterr().out
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == [f"{scene}.txt" for scene in VAL_IDS]
        for name in archive.namelist():
            assert archive.read(name) == (out / name).read_bytes()
    check = ["--check", str(path), "--root", str(small_root), "--partial", "--score"]
    assert export_preds.main([*check, "--out", str(tmp_path / "scores")]) == 0
    scored = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    assert scored["submission"] == str(path)
    assert (scored["scene_ids"], scored["split"]) == (list(VAL_IDS), "val")
    assert scored["data"]["num_scenes_in_release"] == 312
    assert (tmp_path / "scores" / "confusion.html").is_file()
    headline = capsys.readouterr().out.splitlines()[-1]
    assert headline == f"mIoU {scored['mean_iou']:.3f} (submitted labels, raw points)"
    assert evaluate.main(["--checkpoint", str(checkpoint)]) == 0
    evaluated = capsys.readouterr().out.splitlines()[-1]
    assert evaluated.split("(")[0] == headline.split("(")[0]
    assert export_preds.main([*argv, "--overwrite"]) == 0  # without --out nothing else is written
    assert export_preds.main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_submission_of_a_part_must_be_asked_for(checkpoint, small_root, tmp_path, capsys):
    root = tmp_path / "scannet"
    shutil.copytree(small_root, root, ignore=shutil.ignore_patterns("prepared"))
    with (root / "meta" / "scannetv2_val.txt").open("a") as file:
        file.write("scene0009_00\n")
    path = tmp_path / "s"
    argv = [
        "--checkpoint",
        str(checkpoint),
        "--set",
        f"data.root={root}",
        "--submission",
        str(path),
    ]
    assert export_preds.main(argv) == 2
    error = capsys.readouterr().err
    assert "1 of 3 scenes of split 'val' are not on disk (first: scene0009_00)" in error
    assert not path.exists()
    assert export_preds.main([*argv, "--partial"]) == 0
    found = read_submission(path, VAL_IDS, SCANNET, "val")
    assert [scene_id for scene_id, _ in found] == list(VAL_IDS)
    check = ["--check", str(path), "--root", str(root)]
    assert export_preds.main(check) == 1
    captured = capsys.readouterr()
    assert "scene0009_00.txt: missing" in captured.err
    assert "problem: split 'val' has 312 scenes in the complete release, but 3" in captured.err
    assert export_preds.main([*check, "--partial"]) == 0
    assert "312 scenes in the complete release" not in capsys.readouterr().err


def test_what_is_on_disk_is_not_the_whole_split(checkpoint, small_root, tmp_path, capsys):
    """Every listed scene is there, but the list is shorter than the release's."""
    path = tmp_path / "s"
    argv = ["--checkpoint", str(checkpoint), "--submission", str(path)]
    assert export_preds.main(argv) == 2
    assert (
        "split 'val' has 312 scenes in the complete release, but 2 are known here: the server "
        "would refuse the submission; get them, or pass --partial"
    ) in capsys.readouterr().err
    assert not path.exists()
    assert export_preds.main([*argv, "--set", "data.dataset=synthetic"]) == 0  # no release to miss


def test_options_that_do_nothing_are_refused(checkpoint, tmp_path, capsys):
    model = ["--checkpoint", str(checkpoint)]
    labels = [*model, "--out", str(tmp_path / "o")]
    submission = [*model, "--submission", str(tmp_path / "s.zip")]
    check = ["--check", str(tmp_path)]
    for argv, message in (
        ([*submission, "--choices"], "--choices: .* pass --out"),
        ([*submission, "--format", "npy"], "--format: .* pass --out"),
        ([*labels, "--with", "a.txt"], "--with: .* pass --submission"),
        ([*labels, "--partial"], "--partial: .* pass --submission"),
        ([*labels, "--score"], "--score: .* pass it as --check"),
        ([*labels, "--root", str(tmp_path)], "--root: --root and --dataset are of --check; .*=DIR"),
        ([*labels, "--dataset", "s3dis"], "--dataset: --root and --dataset are of --check"),
        ([*check, "--submission", "s.zip"], "--submission: --check predicts"),
        ([*check, "--with", "a.txt"], "--with: --check predicts"),
        ([*check, *model, "--tta", "flip"], "--checkpoint, --tta: --check predicts"),
        ([*check, "--max-voxels", "9", "--scores"], "--max-voxels, --scores: --check predicts"),
        ([*check, "--set", "data.root=x", "--device", "cpu"], "--set, --device: --check predicts"),
        ([*check, "--format", "txt", "--choices"], "--format, --choices: --check predicts"),
        ([*check, "--out", str(tmp_path / "o")], "--out: .* without --score"),
        ([*check, "--overwrite"], "--overwrite: .* without --out"),
        ([*submission, "--with", str(tmp_path / "nothere.txt")], "nothere.txt: no such file; pass"),
    ):
        assert export_preds.main(argv) == 2
        assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
