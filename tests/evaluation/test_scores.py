"""The confusion matrix and ScanNet's rule against sets of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pointseg.evaluation import SCANNET_RULE, ConfusionMatrix
from pointseg.evaluation import confusion as confusion_module

from .oracle import accuracy_by_points, iou_by_sets, mean_of_present

NUM_CLASSES = 5

labels = st.integers(-1, NUM_CLASSES - 1)
predictions = st.integers(-2, NUM_CLASSES + 2)  # some are none of the classes
points = st.lists(st.tuples(predictions, labels), max_size=60)


def confusion_of(pairs: list[tuple[int, int]]) -> ConfusionMatrix:
    matrix = ConfusionMatrix(NUM_CLASSES)
    pred = np.array([p for p, _ in pairs], dtype=np.int16)
    matrix.update(pred, np.array([t for _, t in pairs], dtype=np.int64))
    return matrix


@given(points)
def test_scores_are_those_of_sets_of_points(pairs):
    pred, target = [p for p, _ in pairs], [t for _, t in pairs]
    scores = SCANNET_RULE.score(confusion_of(pairs).counts)
    expected = iou_by_sets(pred, target, NUM_CLASSES)
    # one float64 division on either side: equal to the last bit or two
    np.testing.assert_allclose(scores.iou, expected, rtol=1e-15)
    np.testing.assert_allclose(scores.mean_iou, mean_of_present(expected), rtol=1e-14)
    np.testing.assert_allclose(
        scores.accuracy, accuracy_by_points(pred, target, NUM_CLASSES), rtol=1e-15
    )
    assert scores.num_classes_in_mean == sum(not math.isnan(value) for value in expected)


@given(points, st.randoms(use_true_random=False))
def test_order_of_points_does_not_matter(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(confusion_of(pairs).counts, confusion_of(shuffled).counts)


@given(points, points)
def test_merged_matrices_equal_the_joint_one(first, second):
    merged = confusion_of(first)
    merged.merge(confusion_of(second))
    joint = confusion_of(first + second)
    np.testing.assert_array_equal(merged.counts, joint.counts)
    assert merged.num_ignored == joint.num_ignored


@given(points, st.lists(predictions, max_size=30))
def test_ignored_points_never_count(pairs, pred_at_ignored):
    with_ignored = confusion_of(pairs + [(p, -1) for p in pred_at_ignored])
    np.testing.assert_array_equal(with_ignored.counts, confusion_of(pairs).counts)
    assert with_ignored.num_points + with_ignored.num_ignored == len(pairs) + len(pred_at_ignored)


@given(points, st.permutations(range(NUM_CLASSES)))
def test_renaming_classes_renames_their_scores(pairs, order):
    renamed = [
        (order[p] if 0 <= p < NUM_CLASSES else p, order[t] if t >= 0 else t) for p, t in pairs
    ]
    original = SCANNET_RULE.score(confusion_of(pairs).counts).iou
    np.testing.assert_array_equal(
        SCANNET_RULE.score(confusion_of(renamed).counts).iou[list(order)], original
    )


def test_prediction_outside_the_classes_is_missed_and_blames_nobody():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 99, 1]), np.array([0, 0, 1]))
    scores = SCANNET_RULE.score(matrix.counts)
    np.testing.assert_array_equal(scores.iou, [0.5, 1.0])
    assert scores.accuracy == 2 / 3


def test_predicted_but_never_true_is_zero_and_in_the_mean():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 1]), np.array([0, 0]))
    scores = SCANNET_RULE.score(matrix.counts)
    np.testing.assert_array_equal(scores.iou, [0.5, 0.0, np.nan])
    assert (scores.mean_iou, scores.num_classes_in_mean) == (0.25, 2)
    assert scores.mean_accuracy == 0.5  # of the one class that occurs


def test_nothing_counted_has_no_score():
    scores = SCANNET_RULE.score(ConfusionMatrix(2).counts)
    assert math.isnan(scores.mean_iou) and math.isnan(scores.accuracy)
    assert scores.num_classes_in_mean == 0


def test_chunks_add_up(monkeypatch):
    rng = np.random.default_rng(0)
    pred, target = rng.integers(-1, 4, 1000), rng.integers(-1, 4, 1000)
    whole, chunked = ConfusionMatrix(4), ConfusionMatrix(4)
    whole.update(pred, target)
    monkeypatch.setattr(confusion_module, "_CHUNK_POINTS", 7)
    chunked.update(pred, target)
    np.testing.assert_array_equal(whole.counts, chunked.counts)
    assert whole.num_ignored == chunked.num_ignored


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.uint8])
def test_tensors_of_any_integer_type(dtype):
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, 1, 2], dtype=dtype), torch.tensor([0, 1, 1], dtype=dtype))
    assert matrix.counts.dtype == np.int64
    assert matrix.counts.tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_bad_input_is_named_and_counts_nothing():
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match="got 2 predictions for 3 points"):
        matrix.update(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="label 7"):
        matrix.update(np.zeros(3, int), np.array([0, 7, 0]))
    with pytest.raises(TypeError, match="pred must hold integer"):
        matrix.update(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match="one id per point"):
        matrix.update(np.zeros((3, 2), int), np.zeros((3, 2), int))
    assert matrix.counts.sum() == 0
    with pytest.raises(ValueError, match="ignore_index must be none"):
        ConfusionMatrix(3, ignore_index=0)
    with pytest.raises(ValueError, match="num_classes"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="cannot merge"):
        matrix.merge(ConfusionMatrix(4))
    with pytest.raises(ValueError, match=r"\[C, C \+ 1\]"):
        SCANNET_RULE.score(np.zeros((3, 3), int))
