"""Distillation of a trained model, the teacher, into the model that is trained, the student.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015
(arXiv:1503.02531), for every voxel by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointseg.data import SegBatch
from pointseg.data.labels import IGNORE_INDEX


@dataclass(frozen=True)
class DistillationConfig:
    """Whom the student imitates besides the labels, and how much."""

    teacher: str
    """Run directory (its best checkpoint) or checkpoint. A run keeps the file that it found."""
    weight: float = 1.0
    """Factor of the term; the labels' terms have theirs in ``loss``."""
    temperature: float = 2.0
    """Divides the logits of both: above 1 it evens out what the teacher thinks of other classes."""
    voxels: Literal["all", "labelled"] = "all"
    """Voxels that count: all, annotated or not, or those with a label."""
    teacher_hash: str | None = None
    """SHA-256 of the teacher's weights, filled in when a run starts; another teacher is refused.
    null: any.
    """

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(
                f"weight must be positive, got {self.weight}; distillation: null leaves it out"
            )
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


class Distillation:
    """The distillation term of batches: how far the student's logits are from the teacher's.

    The teacher stays as it is: no gradient, no change of its buffers. It sees the very voxels and
    features that the student sees, augmented as they are, in the precision of the student.
    """

    def __init__(self, config: DistillationConfig, teacher: nn.Module) -> None:
        """``teacher``: a model in evaluation mode, from `SparseTensor` to logits [N, C]."""
        self.config = config
        self.teacher = teacher

    def num_counted(self, num_voxels: int, num_labelled: int) -> int:
        """How many the term sums over, of that many voxels."""
        return num_voxels if self.config.voxels == "all" else num_labelled

    def __call__(self, batch: SegBatch, logits: Tensor) -> Tensor:
        """The term of the student's logits [N, C], summed over the voxels that count. Scalar."""
        with torch.no_grad():
            target = self.teacher(batch.voxels)
        rows = distillation_divergence(logits, target, self.config.temperature)
        if self.config.voxels == "labelled":
            # Not selected: how many there are is what a GPU would have to be waited for.
            rows = rows.masked_fill(batch.voxel_labels == IGNORE_INDEX, 0.0)
        return self.config.weight * rows.sum()


def distillation_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of every row. [N].

    student, teacher: logits [N, C]. Half precision is raised to float32. The factor T^2 keeps the
    size of the gradient, which is ``T (softmax(student / T) - softmax(teacher / T))`` for the
    student, about the same for every T; the teacher has none.

    Raises ValueError for other shapes.
    """
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(
            "expected logits [N, C] of student and teacher, "
            f"got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    log_p, log_q = (
        functional.log_softmax(_at_least_float32(logits) / temperature, dim=1)
        for logits in (teacher.detach(), student)
    )
    divergence = functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
    return divergence * temperature**2


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.element_size() == 2 else logits
