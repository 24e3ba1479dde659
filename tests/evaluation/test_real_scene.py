"""A real scene's labels, written as a submission and checked; skipped where no real data is set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData

from pointseg.data import SCANNET20, PointCloud, ScanNetReader
from pointseg.evaluation import (
    SCANNET_RULE,
    ConfusionMatrix,
    SubmissionCheck,
    check_submission,
    split_point_counts,
    write_labels,
)
from pointseg.evaluation.submission import SCANNET

SCENE = "scene0000_00"


@pytest.fixture(scope="module")
def root(real_data: Path) -> Path:
    return real_data / "scannet"


@pytest.fixture(scope="module")
def cloud(root: Path) -> PointCloud:
    return ScanNetReader(root).read_scene(SCENE)


@pytest.fixture
def submission(tmp_path: Path, cloud: PointCloud) -> Path:
    """Labels of the scene, those without a class guessed to be a wall, as a submission must."""
    perfect = np.where(cloud.labels < 0, 0, cloud.labels)
    write_labels(tmp_path / "preds", cloud, perfect, SCANNET20)
    return tmp_path / "preds"


def test_perfect_labels_score_one_over_the_classes_present(root, cloud, submission):
    raw = PlyData.read(root / "scans" / SCENE / f"{SCENE}_vh_clean_2.labels.ply")["vertex"]["label"]
    lines = np.array((submission / f"{SCENE}.txt").read_text().splitlines(), dtype=np.int64)
    assert len(lines) == len(raw) == 81_369
    counted = np.isin(raw, SCANNET20.raw_ids)
    np.testing.assert_array_equal(lines[counted], raw[counted])
    matrix = ConfusionMatrix(SCANNET20.num_classes)
    matrix.update(SCANNET20.to_train(lines), SCANNET20.to_train(raw))
    scores = SCANNET_RULE.score(matrix.counts)
    assert scores.mean_iou == scores.accuracy == 1.0
    assert scores.num_classes_in_mean == len(np.unique(raw[counted])) < SCANNET20.num_classes
    assert matrix.num_ignored == int((~counted).sum())


def test_one_wrong_vertex_costs_what_it_costs(cloud):
    pred = cloud.labels.copy()
    wrong = int(np.flatnonzero(cloud.labels == 1)[0])
    pred[wrong] = 0
    matrix = ConfusionMatrix(SCANNET20.num_classes)
    matrix.update(pred, cloud.labels)
    iou = SCANNET_RULE.score(matrix.counts).iou
    walls, floors = int((cloud.labels == 0).sum()), int((cloud.labels == 1).sum())
    assert iou[0] == walls / (walls + 1) and iou[1] == (floors - 1) / floors


def test_the_ply_keeps_the_order_of_the_mesh(root, submission):
    mesh = PlyData.read(root / "scans" / SCENE / f"{SCENE}_vh_clean_2.ply")["vertex"]
    written = PlyData.read(submission / f"{SCENE}.ply")["vertex"]
    for axis in "xyz":
        np.testing.assert_array_equal(written[axis], mesh[axis])


def checked(folder: Path, sizes: dict[str, int | None]) -> SubmissionCheck:
    return check_submission(folder, sizes, SCANNET, SCANNET20, "train")


def test_check_passes_and_names_every_fault(root, submission, tmp_path):
    sizes = split_point_counts(ScanNetReader(root), "train")
    assert len(sizes) == 1201 and sizes[SCENE] == 81_369
    here = {scene: size for scene, size in sizes.items() if size is not None}
    assert checked(submission, here).ok
    assert len(checked(submission, sizes).problems) == 1200

    lines = (submission / f"{SCENE}.txt").read_text().splitlines()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / f"{SCENE}.txt").write_text("\n".join(lines[:80_000]) + "\n")
    shutil.copy(submission / f"{SCENE}.txt", broken / "scene0000_01.txt")
    problems = checked(broken, here | {"scene0000_02": 7}).problems
    assert problems == (
        f"{SCENE}.txt: 80000 labels, but the scene has 81369 points",
        "scene0000_01.txt: unexpected: no such scene in the split (files are named like "
        f"{SCENE}.txt)",
        "scene0000_02.txt: missing",
    )
    lines[41] = "13"
    (broken / f"{SCENE}.txt").write_text("\n".join(lines) + "\n")
    problems = checked(broken, here).problems
    assert "ids that are no class of the benchmark: 13 (1x), the first is label 42" in problems[0]
