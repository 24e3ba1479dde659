"""Losses against brute force and finite differences; sums of parts make the whole."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from pointseg.engine.losses import (
    LossConfig,
    SegmentationLoss,
    class_weights_from_counts,
    count_labels,
    explicit_class_weights,
    lovasz_softmax,
)

NUM_CLASSES = 4


def sample(num_voxels: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_voxels, NUM_CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, NUM_CLASSES, (num_voxels,), generator=generator)
    return logits, labels


def brute_force_cross_entropy(logits, labels, weights, smoothing) -> float:
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        if label == -1:
            continue
        log_sum = math.log(sum(math.exp(value) for value in row))
        for c, value in enumerate(row):
            target = smoothing / NUM_CLASSES + (1.0 - smoothing if c == label else 0.0)
            total += weights[c] * target * (log_sum - value)
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 1.0, 0.25)])
def test_cross_entropy_is_the_weighted_sum_over_valid_voxels(smoothing, weights):
    logits, labels = sample(30)
    config = LossConfig(label_smoothing=smoothing, class_weights=weights)
    given = None if weights is None else explicit_class_weights(weights, NUM_CLASSES)
    loss = SegmentationLoss(config, given)(logits, labels)
    expected = brute_force_cross_entropy(logits, labels, weights or [1.0] * NUM_CLASSES, smoothing)
    assert set(loss) == {"cross_entropy"}
    assert loss["cross_entropy"].item() == pytest.approx(expected, rel=1e-12)


def jaccard_loss(true: set[int], mispredicted: set[int]) -> float:
    """1 - IoU of a class with the voxels ``true``, where exactly ``mispredicted`` are wrong."""
    union = true | mispredicted
    return len(mispredicted) / len(union) if union else 0.0


def brute_force_lovasz(logits, labels) -> float:
    """The definition: values of the set function along the chain of sorted errors."""
    rows = [i for i, label in enumerate(labels.tolist()) if label != -1]
    probabilities = torch.softmax(logits, dim=1).tolist()
    values = []
    for c in sorted({labels.tolist()[i] for i in rows}):
        true = {i for i in rows if labels[i] == c}
        error = {i: abs((i in true) - probabilities[i][c]) for i in rows}
        chain = sorted(rows, key=lambda i: -error[i])
        values.append(
            sum(
                error[i]
                * (jaccard_loss(true, set(chain[: k + 1])) - jaccard_loss(true, set(chain[:k])))
                for k, i in enumerate(chain)
            )
        )
    return sum(values) / len(values)


@pytest.mark.parametrize("num_voxels", [1, 2, 17, 60])
def test_lovasz_equals_its_definition(num_voxels):
    logits, labels = sample(num_voxels, seed=num_voxels)
    labels[0] = 1
    assert lovasz_softmax(logits, labels).item() == pytest.approx(
        brute_force_lovasz(logits, labels), rel=1e-12
    )


def test_lovasz_of_certain_predictions_is_one_minus_mean_iou():
    labels = torch.tensor([0, 0, 1, 1, 2, -1])
    predicted = torch.tensor([0, 1, 1, 1, 0, 3])
    logits = torch.full((6, NUM_CLASSES), -1e4, dtype=torch.float64)
    logits[torch.arange(6), predicted] = 1e4
    ious = [1 / 3, 2 / 3, 0.0]
    assert lovasz_softmax(logits, labels).item() == pytest.approx(1.0 - sum(ious) / 3, abs=1e-9)


@pytest.mark.parametrize(("cross_entropy", "lovasz"), [(1.0, 0.0), (0.0, 1.0), (0.5, 2.0)])
def test_gradients(cross_entropy, lovasz):
    logits, labels = sample(12, seed=3)
    config = LossConfig(cross_entropy=cross_entropy, lovasz=lovasz, label_smoothing=0.1)
    loss = SegmentationLoss(config, torch.tensor([1.0, 2.0, 0.5, 1.5]))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: torch.stack(list(loss(x, labels).values())).sum(), (logits,)
    )


def test_cross_entropy_of_parts_sums_to_the_whole():
    logits, labels = sample(40)
    loss = SegmentationLoss(LossConfig())
    whole = loss(logits, labels)["cross_entropy"]
    parts = [
        loss(logits[a:b], labels[a:b])["cross_entropy"]
        for a, b in itertools.pairwise([0, 13, 14, 40])
    ]
    assert torch.stack(parts).sum().item() == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize("num_voxels", [0, 5])
def test_without_a_valid_voxel_loss_and_gradient_are_zero(num_voxels):
    logits = torch.randn(num_voxels, NUM_CLASSES, requires_grad=True)
    labels = torch.full((num_voxels,), -1)
    sums = SegmentationLoss(LossConfig(lovasz=1.0))(logits, labels)
    total = torch.stack(list(sums.values())).sum()
    total.backward()
    assert total.item() == 0.0
    assert logits.grad is not None and not logits.grad.any()


def test_ignored_voxels_have_no_gradient():
    logits, labels = sample(30)
    logits.requires_grad_()
    sums = SegmentationLoss(LossConfig(lovasz=1.0))(logits, labels)
    torch.stack(list(sums.values())).sum().backward()
    assert not logits.grad[labels == -1].any()
    assert logits.grad[labels != -1].abs().sum(dim=1).min() > 0


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = sample(200)
    sums = SegmentationLoss(LossConfig(lovasz=1.0))(logits.to(torch.bfloat16), labels)
    assert all(value.dtype == torch.float32 for value in sums.values())


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), ValueError, r"\[N, C\]"),
        (torch.zeros(2, 4), torch.zeros(2, dtype=torch.int32), TypeError, "int64"),
        (torch.zeros(2, 4), torch.tensor([0, 4]), ValueError, r"-1\.\.3"),
        (torch.zeros(2, 4), torch.tensor([0, -100]), ValueError, r"-1\.\.3"),
    ],
)
def test_bad_input(logits, labels, error, message):
    with pytest.raises(error, match=message):
        SegmentationLoss(LossConfig())(logits, labels)


def test_class_weights_follow_frequency_and_average_to_one():
    labels = [np.array([0, 0, 0, 0, 1, -1], dtype=np.int16), None, np.array([1, 3], dtype=np.int16)]
    counts = count_labels(labels, NUM_CLASSES)
    assert counts.tolist() == [4, 2, 0, 1]
    weights = class_weights_from_counts(counts, 0.5).double().numpy()
    assert weights[1] / weights[0] == pytest.approx(math.sqrt(4 / 2), rel=1e-6)
    assert weights[3] / weights[0] == pytest.approx(math.sqrt(4), rel=1e-6)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0, rel=1e-6)
    assert weights[2] == 1.0


def test_class_weights_need_labels():
    with pytest.raises(ValueError, match="no labelled point"):
        class_weights_from_counts([0, 0], 0.5)
    with pytest.raises(ValueError, match="expected 3 weights"):
        explicit_class_weights([1.0, 2.0], 3)


@pytest.mark.parametrize(
    "options",
    [
        {"cross_entropy": -1.0},
        {"lovasz": -1.0},
        {"label_smoothing": 1.0},
        {"class_weights": (1.0,), "class_weight_power": 0.5},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LossConfig(**options)
