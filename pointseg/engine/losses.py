"""Losses over voxel logits: cross entropy and Lovasz-softmax, and class weights from class
frequencies.

A loss is returned as a *sum over valid voxels*; the trainer divides by the number of valid voxels
of the whole step, so that a step split into several accumulated batches has the gradient of one
large batch (of the cross entropy: Lovasz ranks the voxels of each forward pass by themselves).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pointseg.data.labels import IGNORE_INDEX


@dataclass(frozen=True)
class LossConfig:
    """The terms of the loss from labels and their factors; a factor of 0 leaves a term out."""

    cross_entropy: float = 1.0
    """Factor of the cross entropy."""
    lovasz: float = 0.0
    """Factor of the Lovasz-softmax loss."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes in the cross entropy."""
    class_weights: tuple[float, ...] | None = None
    """Explicit weights of the classes in the cross entropy."""
    class_weight_power: float = 0.0
    """Weights ``frequency ** -power`` from the training labels (0: none; 0.5 is a usual choice)."""

    def __post_init__(self) -> None:
        if self.cross_entropy < 0 or self.lovasz < 0:
            raise ValueError(
                "cross_entropy and lovasz are factors >= 0, "
                f"got {self.cross_entropy} and {self.lovasz}"
            )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        if self.class_weights is not None and self.class_weight_power != 0.0:
            raise ValueError("give either class_weights or class_weight_power, not both")


class SegmentationLoss(nn.Module):
    """Named loss sums over the valid voxels of one batch.

    ``forward(logits [N, C] floating, labels [N] int64)`` returns ``{"cross_entropy": scalar,
    "lovasz": scalar}`` without the terms whose factor is 0, each multiplied by its factor. Half
    precision logits are raised to float32.
    """

    class_weights: Tensor | None

    def __init__(self, config: LossConfig, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        # Not part of the state: it follows from the configuration and the training labels.
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        check_logits(logits, labels)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        sums: dict[str, Tensor] = {}
        if self.config.cross_entropy > 0:
            weights = self.class_weights
            sums["cross_entropy"] = self.config.cross_entropy * functional.cross_entropy(
                logits,
                labels,
                weight=None if weights is None else weights.to(logits.dtype),
                ignore_index=IGNORE_INDEX,
                reduction="sum",
                label_smoothing=self.config.label_smoothing,
            )
        if self.config.lovasz > 0:
            valid = (labels != IGNORE_INDEX).sum()
            sums["lovasz"] = self.config.lovasz * lovasz_softmax(logits, labels) * valid
        return sums


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless logits are [N, C] and labels are int64 [N] in -1..C-1.

    What labels on a GPU say is not looked at, which would wait for it; :func:`check_labels` does
    that where they come from.
    """
    if logits.ndim != 2 or labels.ndim != 1 or logits.shape[0] != labels.shape[0]:
        raise ValueError(
            "expected logits [N, C] and labels [N], "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64, got {labels.dtype}")
    if labels.device.type == "cpu":
        check_labels(labels, logits.shape[1])


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Raise ValueError unless all labels are classes or ignored."""
    if labels.numel():
        low, high = torch.stack(torch.aminmax(labels)).tolist()
        if low < IGNORE_INDEX or high >= num_classes:
            raise ValueError(
                f"labels must lie in -1..{num_classes - 1} (-1 is ignored), got {low}..{high}"
            )


def lovasz_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Lovasz-softmax loss: the mean over the classes present of the Lovasz extension of the Jaccard
    loss.

    logits [N, C] floating, labels int64 [N] with -1 ignored; returns a scalar, 0 where no voxel is
    valid. Source: Berman, Triki, Blaschko, "The Lovasz-Softmax loss", CVPR 2018. Ties in the errors
    are broken by row, which changes the gradient among equal errors, never the value.
    """
    check_logits(logits, labels)
    probabilities = torch.softmax(logits, dim=1)
    classes = torch.arange(logits.shape[1], device=logits.device)
    if logits.device.type == "cpu":
        # Less to sort. A GPU would have to be waited for: what is left has a size that it knows.
        valid = labels != IGNORE_INDEX
        probabilities, labels = probabilities[valid], labels[valid]
        classes = classes[torch.bincount(labels, minlength=logits.shape[1]) > 0]
    is_class = labels[:, None] == classes
    errors = (is_class.to(logits.dtype) - probabilities[:, classes]).abs()
    # Ignored voxels come last, where all of a class has been found and nothing increases any more.
    errors = errors.masked_fill((labels == IGNORE_INDEX)[:, None], -1.0)
    errors, order = torch.sort(errors, dim=0, descending=True, stable=True)
    weights = _jaccard_increments(torch.gather(is_class, 0, order).to(logits.dtype))
    present = is_class.any(dim=0)
    losses = (errors * weights).sum(dim=0)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)


def _jaccard_increments(is_class: Tensor) -> Tensor:
    """Increase of the Jaccard loss as each row, in the given order, joins the mispredicted rows.
    [N, C] -> [N, C].
    """
    total = is_class.sum(dim=0, keepdim=True)
    intersection = total - is_class.cumsum(dim=0)
    union = total + (1.0 - is_class).cumsum(dim=0)
    jaccard = 1.0 - intersection / union
    return torch.diff(jaccard, dim=0, prepend=torch.zeros_like(total))


def class_weights(
    config: LossConfig, num_classes: int, labels: Iterable[np.ndarray | None]
) -> Tensor | None:
    """Weights of the classes as configured, or None. float32 [C].

    ``labels``, the label arrays of all training scenes, are read only for weights by frequency.
    """
    if config.class_weights is not None:
        return explicit_class_weights(config.class_weights, num_classes)
    if config.class_weight_power == 0.0:
        return None
    counts = count_labels(labels, num_classes)
    return class_weights_from_counts(counts, config.class_weight_power)


def count_labels(labels: Iterable[np.ndarray | None], num_classes: int) -> np.ndarray:
    """Points of every class over all label arrays: int64 [num_classes]. Ignored points and absent
    labels do not count.
    """
    counts = np.zeros(num_classes, dtype=np.int64)
    for scene in labels:
        if scene is None:
            continue
        valid = scene[scene != IGNORE_INDEX].astype(np.int64)
        counts += np.bincount(valid, minlength=num_classes)[:num_classes]
    return counts


def class_weights_from_counts(counts: Sequence[int] | np.ndarray, power: float) -> Tensor:
    """Weights ``frequency ** -power``, scaled so that the mean weight of a labelled point is 1.
    float32 [C].

    The scale keeps the loss comparable with the unweighted one. A class without points gets weight
    1.
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum()
    if total <= 0:
        raise ValueError("no labelled point in the training scenes: class weights are undefined")
    frequency = counts / total
    weights = np.ones_like(frequency)
    seen = frequency > 0
    weights[seen] = frequency[seen] ** -power
    weights[seen] /= (weights[seen] * frequency[seen]).sum()
    return torch.from_numpy(weights.astype(np.float32))


def explicit_class_weights(weights: Sequence[float], num_classes: int) -> Tensor:
    """The configured weights as float32 [C]; ValueError unless there is one positive weight a
    class.
    """
    if len(weights) != num_classes or not all(weight >= 0 for weight in weights):
        raise ValueError(
            f"loss.class_weights: expected {num_classes} weights >= 0, "
            f"got {len(weights)}: {list(weights)}"
        )
    return torch.tensor(weights, dtype=torch.float32)
