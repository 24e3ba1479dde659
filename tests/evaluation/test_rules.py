"""The rule of each benchmark against its evaluator, written again point by point on raw ids."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from pointseg.data import DATASETS, LabelMap
from pointseg.evaluation import (
    BENCHMARKS,
    NUSCENES_RULE,
    S3DIS_RULE,
    SCANNET_RULE,
    SEMANTICKITTI_RULE,
    ConfusionMatrix,
    GroupMeans,
    benchmark_of_rule,
)
from pointseg.experiment import metric_rule

from ..helpers.properties import given, st
from .oracle import (
    iou_by_sets,
    mean_of_present,
    nuscenes_by_points,
    s3dis_by_points,
    semantickitti_by_points,
)

C = 4
RAW_IDS = {0: 0, 1: 0, 10: 1, 252: 1, 11: 2, 15: 3, 18: 4, 258: 4}  # raw id -> 0 or a class 1..C
# Instances in the upper half of a label must not matter.
raw_ids = st.tuples(st.sampled_from(sorted(RAW_IDS)), st.sampled_from([0, 1, 77])).map(
    lambda pair: pair[0] | pair[1] << 16
)


def counts_of(pred, target, num_classes: int = C) -> np.ndarray:
    matrix = ConfusionMatrix(num_classes)
    matrix.update(np.asarray(pred, dtype=np.int64), np.asarray(target, dtype=np.int64))
    return matrix.counts


@given(st.lists(st.tuples(raw_ids, raw_ids), max_size=60))
def test_semantickitti(pairs):
    pred, target = [p for p, _ in pairs], [t for _, t in pairs]
    iou, mean_iou, accuracy = semantickitti_by_points(pred, target, RAW_IDS, C)
    train = [[RAW_IDS[v & 0xFFFF] - 1 for v in values] for values in (pred, target)]
    scores = SEMANTICKITTI_RULE.score(counts_of(*train))
    # the same float64 divisions; the sums of a mean may be taken in another order
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-15)
    np.testing.assert_allclose(scores.mean_iou, mean_iou, rtol=1e-14)
    np.testing.assert_allclose(scores.accuracy, accuracy, rtol=1e-14)
    assert scores.num_classes_in_mean == C


@given(st.lists(st.tuples(st.integers(1, C), st.integers(0, C)), max_size=60))
def test_nuscenes(pairs):
    pred, target = [p for p, _ in pairs], [t for _, t in pairs]
    iou, mean_iou, fwiou = nuscenes_by_points(pred, target, C)
    scores = NUSCENES_RULE.score(counts_of(np.array(pred) - 1, np.array(target) - 1))
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-15)
    np.testing.assert_allclose(scores.mean_iou, mean_iou, rtol=1e-14)
    np.testing.assert_allclose(scores.further["fwIoU"], fwiou, rtol=1e-14)


@given(st.lists(st.tuples(st.integers(0, C - 1), st.integers(0, C - 1)), max_size=60))
def test_s3dis(pairs):
    pred, target = [p for p, _ in pairs], [t for _, t in pairs]
    mean_iou, mean_accuracy, accuracy = s3dis_by_points(pred, target, C)
    scores = S3DIS_RULE.score(counts_of(pred, target))
    np.testing.assert_allclose(scores.mean_iou, mean_iou, rtol=1e-14)
    np.testing.assert_allclose(scores.mean_accuracy, mean_accuracy, rtol=1e-14)
    np.testing.assert_allclose(scores.accuracy, accuracy, rtol=1e-14)
    assert scores.num_classes_in_mean == C


@given(st.lists(st.tuples(st.integers(-1, C), st.integers(0, C - 1)), max_size=60))
def test_means_of_groups(pairs):
    pred, target = [p for p, _ in pairs], [t for _, t in pairs]
    rule = GroupMeans(SCANNET_RULE, {"head": (3, 1), "tail": (0,)})
    scores, plain = rule.score(counts_of(pred, target)), SCANNET_RULE.score(counts_of(pred, target))
    iou = iou_by_sets(pred, target, C)
    np.testing.assert_allclose(
        scores.further["mIoU head"], mean_of_present([iou[3], iou[1]]), rtol=1e-15
    )
    np.testing.assert_equal(scores.further["mIoU tail"], plain.iou[0])
    np.testing.assert_equal(scores.mean_iou, plain.mean_iou)
    assert rule.name == SCANNET_RULE.name


def test_scannet200_is_reported_by_its_groups():
    counts = np.hstack([np.eye(200, dtype=int), np.zeros((200, 1), int)])
    counts[69, :] = np.eye(201, dtype=int)[0]  # paper, a class of the tail, taken for wall
    scores = BENCHMARKS["scannet200"].rule.score(counts)
    assert scores.further["mIoU tail"] == pytest.approx(65 / 66)
    assert scores.further["mIoU head"] == pytest.approx(65.5 / 66)
    assert scores.further["mIoU common"] == 1.0
    assert scores.mean_iou == pytest.approx(198.5 / 200)


def test_groups_must_be_classes():
    for members, got in (((0, C), C), ((-1,), -1), ((), "none")):
        with pytest.raises(ValueError, match=rf"'tail' must list classes 0\.\.3, got {got}"):
            GroupMeans(SCANNET_RULE, {"tail": members}).score(counts_of([0], [0]))


def test_the_rules_differ_where_a_class_is_absent_and_where_nothing_is_predicted():
    absent = counts_of([0, 0, 1], [0, 1, 1])
    # All but ScanNet200, whose groups need its 200 classes.
    rules = {name: b.rule for name, b in BENCHMARKS.items() if name != "scannet200"}
    means = {name: rule.score(absent).mean_iou for name, rule in rules.items()}
    assert means["scannet"] == means["nuscenes"] == 0.5
    for name in ("semantickitti", "s3dis"):
        assert means[name] == pytest.approx(0.25, rel=1e-9)  # at most 1e-10 in the denominators

    abstained = counts_of([0, -1], [0, 0])
    scores = {n: rule.score(abstained) for n, rule in rules.items() if n != "nuscenes"}
    assert scores["semantickitti"].accuracy == pytest.approx(1.0)
    assert scores["scannet"].accuracy == 0.5
    assert {s.iou[0].round(9) for s in scores.values()} == {0.5}
    with pytest.raises(ValueError, match="1 points are predicted as none of the classes"):
        NUSCENES_RULE.score(abstained)


def test_every_dataset_has_a_rule_and_names_of_rules_differ():
    for name in DATASETS:
        assert metric_rule(name) in [benchmark.rule for benchmark in BENCHMARKS.values()]
    for benchmark in BENCHMARKS.values():
        assert benchmark_of_rule(benchmark.rule.name) is benchmark
        with pytest.raises(ValueError, match=r"\[C, C \+ 1\]"):
            benchmark.rule.score(np.zeros((3, 3), int))
    with pytest.raises(ValueError, match="no benchmark has a rule named 'mine'"):
        benchmark_of_rule("mine")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_nothing_counted_is_no_error(name):
    num_classes = 200 if name == "scannet200" else C
    scores = BENCHMARKS[name].rule.score(ConfusionMatrix(num_classes).counts)
    assert math.isnan(scores.mean_iou) or scores.mean_iou == 0.0


# -- a real scan -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kitti(real_data: Path) -> LabelMap:
    text = (real_data / "semantickitti" / "semantic-kitti.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    classes = sorted(set(table["learning_map_inv"]) - {0})
    raw = [table["learning_map_inv"][c] for c in classes]
    return LabelMap(
        "SemanticKITTI",
        tuple(table["labels"][value] for value in raw),
        tuple(raw),
        np.zeros((len(classes), 3), np.uint8),
        reads={value: train - 1 for value, train in table["learning_map"].items()},
    )


@pytest.fixture(scope="module")
def scan(real_data: Path) -> np.ndarray:
    """Labels as in the file, uint32 [P]."""
    folder = real_data / "semantickitti" / "dataset" / "sequences" / "00" / "labels"
    return np.fromfile(folder / "000000.label", dtype="<u4")


@pytest.mark.parametrize(
    ("shift", "mean_iou", "accuracy"),
    [(0, 0.631578947368421, 1.0), (777, 0.04904376753063681, 0.3311046663077644)],
)
def test_a_real_scan_scores_what_the_official_script_says(kitti, scan, shift, mean_iou, accuracy):
    target = kitti.to_train(scan & 0xFFFF)
    submitted = np.roll(kitti.to_raw(target), shift)
    scores = SEMANTICKITTI_RULE.score(counts_of(kitti.from_raw(submitted), target, 19))
    assert scores.mean_iou == pytest.approx(mean_iou, abs=1e-12)
    assert scores.accuracy == pytest.approx(accuracy, abs=1e-12)
