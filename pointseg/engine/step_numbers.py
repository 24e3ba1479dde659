"""The numbers of training steps, left on the device until somebody wants to read them.

Reading a number waits for all that the device has been given before. A step that reads nothing lets
the host prepare the next one meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointseg.data import SegBatch
from pointseg.data.labels import IGNORE_INDEX
from pointseg.distributed import gather

Numbers = Mapping[str, Tensor | float]

REMEDY = (
    "lower optimizer.lr, set train.clip_norm or schedule.warmup_steps, or look for nan in the "
    "features; the checkpoints saved so far are sound"
)


class TrainingDiverged(ValueError):
    """The loss or its gradient is nan or infinite."""


@dataclass(frozen=True)
class StepCounts:
    """What the batches of one step hold."""

    own_valid: tuple[int, ...]
    """Labelled voxels of each of this rank's batches."""
    num_valid: int
    """Labelled voxels of all ranks, 1 where there is none."""
    num_scenes: int
    """Of all ranks."""
    num_voxels: int
    """Of all ranks."""

    @staticmethod
    def over_ranks(batches: Sequence[SegBatch]) -> StepCounts:
        """Count this rank's batches and ask the others for their counts."""
        valid = tuple(int((batch.voxel_labels != IGNORE_INDEX).sum()) for batch in batches)
        scenes = sum(batch.num_scenes for batch in batches)
        voxels = sum(batch.voxels.num_voxels for batch in batches)
        columns = zip(*gather([sum(valid), scenes, voxels]), strict=True)
        num_valid, num_scenes, num_voxels = (int(sum(column)) for column in columns)
        return StepCounts(valid, max(num_valid, 1), num_scenes, num_voxels)


@dataclass(frozen=True)
class StepNumbers:
    """What one step has to tell."""

    step: int
    """Steps done with it."""
    scene_ids: tuple[str, ...]
    """Of this rank."""
    loss: Tensor | float
    grad_norm: Tensor
    values: Numbers
    """Further numbers of the step."""
    passes: Sequence[Numbers]
    """Numbers of each forward pass, whose means are the step's."""

    def read(self) -> dict[str, float]:
        """All numbers on the host, in one transfer."""
        own = {"loss": self.loss, **self.values, "grad_norm": self.grad_norm}
        first, *passes = on_host([own, *self.passes])
        return {**first, **means(passes)}


class DivergenceCheck:
    """Looks at loss and gradient of every step: at once, or of many steps together."""

    def __init__(self, gradients_may_overflow: bool, at_once: bool) -> None:
        """``gradients_may_overflow``: a scaler watches them and leaves such steps out.
        ``at_once``: wait for every step, so that no bad one reaches the weights.
        """
        self.at_once = at_once
        self._only_loss = gradients_may_overflow
        self._unread: list[StepNumbers] = []

    def is_sound(self, loss: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """Whether one rank's loss and gradients are finite: bool, on their device."""
        sound = torch.isfinite(loss)
        if not self._only_loss and gradients:
            sound = sound & torch.isfinite(nn.utils.get_total_norm(gradients))
        return sound

    def add(self, numbers: StepNumbers) -> str:
        """What is wrong with a step that is not taken yet, or nothing; not at once, that is left
        to :meth:`check`.
        """
        if self.at_once:
            return self._problems([numbers])[0]
        self._unread.append(numbers)
        return ""

    def check(self) -> None:
        """Raise TrainingDiverged for the first step added since the last call that went wrong."""
        unread, self._unread = self._unread, []
        for step, problem in zip(unread, self._problems(unread), strict=True):
            if problem:
                raise TrainingDiverged(
                    f"step {step.step}: {problem} (scenes {', '.join(step.scene_ids)}); {REMEDY}"
                )

    def _problems(self, steps: Sequence[StepNumbers]) -> list[str]:
        rows = on_host([{"loss": step.loss, "grad_norm": step.grad_norm} for step in steps])
        return [self._problem(row["loss"], row["grad_norm"]) for row in rows]

    def _problem(self, loss: float, grad_norm: float) -> str:
        watched = [loss] if self._only_loss else [loss, grad_norm]
        if all(map(math.isfinite, watched)):
            return ""
        return f"loss {loss}, gradient norm {grad_norm}"


def scenes_of(batches: Sequence[SegBatch]) -> tuple[str, ...]:
    """Ids of the scenes in all batches."""
    return tuple(scene for batch in batches for scene in batch.scene_ids)


def on_host(rows: Sequence[Numbers]) -> list[dict[str, float]]:
    """The rows as plain numbers, in one transfer."""
    tensors = [value for row in rows for value in row.values() if isinstance(value, Tensor)]
    numbers = iter(torch.stack([t.detach().double() for t in tensors]).tolist() if tensors else ())
    return [
        {name: next(numbers) if isinstance(v, Tensor) else float(v) for name, v in row.items()}
        for row in rows
    ]


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every number over the rows that have it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: math.fsum(column) / len(column) for name, column in values.items()}
