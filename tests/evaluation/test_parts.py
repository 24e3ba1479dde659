"""Parts of an evaluation: rings around the sensor, and points near another class."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from rich.console import Console

from pointseg.data import PointCloud
from pointseg.evaluation import (
    SCANNET_RULE,
    SEMANTICKITTI_RULE,
    BoundaryArea,
    ConfusionMatrix,
    DistanceRings,
    PartCounter,
    SegReport,
    read_json,
    write_json,
)
from pointseg.evaluation.boundary import near_another_class

from ..helpers.properties import given, st
from .oracle import iou_by_sets, near_another_class_by_pairs

NAMES = ("wall", "floor", "chair")


def cloud_of(xyz, scene_id: str = "a", **fields) -> PointCloud:
    return PointCloud(scene_id, np.asarray(xyz, dtype=np.float32).reshape(-1, 3), **fields)


# -- rings -----------------------------------------------------------------------------------------


def test_a_ring_has_its_inner_edge_and_not_its_outer_one():
    below_ten = float(np.nextafter(np.float32(10), np.float32(0)))
    cloud = cloud_of([[0, 0, 0], [0, -below_ten, 0], [10, 0, 0], [0, 48, 14], [0, 40, 40]])
    masks = DistanceRings().masks(cloud, np.zeros(5, int))
    assert {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()} == {
        "0-10 m": [0, 1],
        "10-20 m": [2],
        "20-30 m": [],
        "30-40 m": [],
        "40-50 m": [],
        "from 50 m": [3, 4],  # 48² + 14² = 50²
    }


def test_distances_are_from_the_origin_of_the_file():
    cloud = cloud_of([[0, 0, 0], [-3, 0, 0]], origin_m=(3.0, 4.0, 0.0))
    masks = DistanceRings((1.0, 4.5)).masks(cloud, np.zeros(2, int))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "1-4.5 m": [False, True],
        "from 4.5 m": [True, False],
    }
    nearer = DistanceRings((10.0, 20.0)).masks(cloud, np.zeros(2, int))
    assert not any(mask.any() for mask in nearer.values())  # nearer than the first edge


@pytest.mark.parametrize("edges", [(), (1.0,), (0.0, 0.0), (5.0, 1.0), (-1.0, 1.0), (0, math.inf)])
def test_edges_must_rise(edges):
    with pytest.raises(ValueError, match="ascending distances"):
        DistanceRings(edges)


# -- boundaries ------------------------------------------------------------------------------------

coordinate = st.integers(0, 12).map(lambda value: value / 8)  # sums of squares are exact
labelled = st.tuples(coordinate, coordinate, coordinate, st.integers(-1, 3))


@given(st.lists(labelled, max_size=40), st.sampled_from([0.125, 0.3, 0.625, 3.0]))
def test_near_another_class_as_by_all_pairs(points, radius):
    xyz, labels = [list(point[:3]) for point in points], [point[3] for point in points]
    found = near_another_class(np.array(xyz).reshape(-1, 3), np.array(labels, int), radius)
    assert found.dtype == bool
    assert found.tolist() == near_another_class_by_pairs(xyz, labels, radius)


def test_the_radius_is_inclusive_and_ignored_points_make_no_boundary():
    xyz = np.array([[0, 0, 0], [0.25, 0, 0], [0.5, 0, 0], [5, 0, 0], [5.01, 0, 0]])
    labels = np.array([0, 1, 1, 2, -1])
    masks = BoundaryArea(0.25).masks(cloud_of(xyz), labels)
    assert masks["boundary"].tolist() == [True, True, False, False, False]
    assert masks["inner"].tolist() == [False, False, True, True, False]
    with pytest.raises(ValueError, match="radius_m must be a length above 0, got 0"):
        BoundaryArea(0.0)


# -- counting and reporting ------------------------------------------------------------------------


@pytest.fixture
def scenes() -> dict[str, tuple[PointCloud, np.ndarray, np.ndarray]]:
    """id -> raw cloud, predictions and labels of its own points; one has points of other scans."""
    rng = np.random.default_rng(3)
    made = {}
    for scene_id in ("a", "b"):
        context = rng.random(120) < 0.3 if scene_id == "b" else None
        cloud = cloud_of(rng.normal(scale=9.0, size=(120, 3)), scene_id, context=context)
        own = cloud.own().num_points
        made[scene_id] = cloud, rng.integers(-1, 3, own), rng.integers(-1, 3, own)
    return made


def counted(scenes, subsets) -> PartCounter:
    counter = PartCounter(subsets, 3, lambda scene_id: scenes[scene_id][0])
    for scene_id, (_, predictions, labels) in scenes.items():
        counter.count(scene_id, predictions, labels)
    return counter


def report_of(scenes, parts, rule) -> SegReport:
    matrix = ConfusionMatrix(3)
    for _, predictions, labels in scenes.values():
        matrix.update(predictions, labels)
    report = SegReport.of(matrix, NAMES, "single pass, raw points", rule, tuple(scenes), "valid")
    return report.with_parts(parts)


def test_parts_are_the_points_of_all_scenes_that_they_choose(scenes):
    parts = counted(scenes, [DistanceRings((0, 8, 16)), BoundaryArea(1.0)]).parts(SCANNET_RULE)
    assert list(parts) == ["0-8 m", "8-16 m", "from 16 m", "boundary", "inner"]
    pred, target = [], []
    for cloud, predictions, labels in scenes.values():
        distance = np.linalg.norm(cloud.own().xyz_m, axis=1)
        chosen = (distance >= 8) & (distance < 16)
        pred += predictions[chosen].tolist()
        target += labels[chosen].tolist()
    np.testing.assert_allclose(parts["8-16 m"].scores.iou, iou_by_sets(pred, target, 3), rtol=1e-15)
    whole = report_of(scenes, parts, SCANNET_RULE)
    for names in (("0-8 m", "8-16 m", "from 16 m"), ("boundary", "inner")):
        together = sum(parts[name].confusion for name in names)
        np.testing.assert_array_equal(together, whole.confusion)
        assert sum(parts[name].num_points for name in names) == whole.num_points


def test_what_does_not_fit_is_named(scenes):
    with pytest.raises(ValueError, match="different names, got boundary, inner, boundary, inner"):
        PartCounter([BoundaryArea(1.0), BoundaryArea(2.0)], 3, lambda _: scenes["a"][0])
    counter = PartCounter([BoundaryArea(1.0)], 3, lambda _: scenes["a"][0])
    with pytest.raises(ValueError, match="scene a has 120 points and 7 labels"):
        counter.count("a", np.zeros(7, int), np.zeros(7, int))
    with pytest.raises(ValueError, match="scene a has no labels"):
        counter.count("a", np.zeros(120, int), None)


def test_json_and_tables_hold_the_parts(scenes, tmp_path):
    assert DistanceRings((0, 8)).statement == "distance from the origin"
    rings = DistanceRings((0, 8), sensor_at_origin=True)
    parts = counted(scenes, [rings, BoundaryArea(1.0)]).parts(SEMANTICKITTI_RULE)
    report = report_of(scenes, parts, SEMANTICKITTI_RULE)
    path = tmp_path / "evaluation.json"
    write_json(report, path, {"checkpoint": "best.pt"})
    stored = json.loads(path.read_text(encoding="utf-8"))
    near = stored["parts"]["0-8 m"]
    assert near["mean_iou"] == parts["0-8 m"].scores.mean_iou
    assert near["num_points"] == sum(row["num_points"] for row in near["classes"])
    assert near["confusion"] == parts["0-8 m"].confusion.tolist()

    again = read_json(path, lambda name: {SEMANTICKITTI_RULE.name: SEMANTICKITTI_RULE}[name])
    assert again.to_dict() == report.to_dict()
    assert (again.split, again.num_scenes, again.num_ignored) == ("valid", 2, report.num_ignored)

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in report.part_tables():
        console.print(table)
    text = " ".join(console.export_text().split())
    for shown in (
        "distance from the sensor",
        "another class within 1 m",
        "split valid: 2 scenes",
        "SemanticKITTI official",
        f"{parts['0-8 m'].scores.mean_iou:.3f}",
        f"{parts['boundary'].num_points:,}",
    ):
        assert shown in text


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("split"),
        lambda s: s["confusion"].pop(),
        lambda s: s.update(rule="mine"),
        lambda s: s["confusion"][0].__setitem__(0, -1),
        lambda s: s["confusion"][0].__setitem__(0, 0.5),
        lambda s: s.update(parts=[]),
    ],
)
def test_a_file_that_is_no_report_is_named(scenes, tmp_path, change):
    path = tmp_path / "evaluation.json"
    write_json(report_of(scenes, {}, SCANNET_RULE), path)
    stored = json.loads(path.read_text(encoding="utf-8"))
    change(stored)
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ValueError, match=r"evaluation\.json: not a report of this version"):
        read_json(path, lambda name: {SCANNET_RULE.name: SCANNET_RULE}[name])
