"""The numbers of training steps, left on the device until somebody wants to read them.

Reading a number waits for all that the device has been given before. A step that reads nothing lets
the host prepare the next one meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Numbers = Mapping[str, Tensor | float]


class TrainingDiverged(ValueError):
    """The loss or its gradient is nan or infinite."""


@dataclass(frozen=True)
class StepNumbers:
    """What one step has to tell."""

    step: int
    """Steps done with it."""
    scene_ids: tuple[str, ...]
    loss: Tensor
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
        ``at_once``: for devices that nobody waits for, so that no bad step reaches the weights.
        """
        self._only_loss = gradients_may_overflow
        self._at_once = at_once
        self._unread: list[StepNumbers] = []

    def add(self, numbers: StepNumbers) -> None:
        """Look at the numbers of a step before it is taken, or leave them to :meth:`check`."""
        self._unread.append(numbers)
        if self._at_once:
            self.check()

    def check(self) -> None:
        """Raise TrainingDiverged for the first step added since the last call that went wrong."""
        unread, self._unread = self._unread, []
        rows = on_host([{"loss": step.loss, "grad_norm": step.grad_norm} for step in unread])
        for step, row in zip(unread, rows, strict=True):
            watched = [row["loss"]] if self._only_loss else row.values()
            if not all(map(math.isfinite, watched)):
                raise TrainingDiverged(
                    f"step {step.step}: loss {row['loss']}, gradient norm {row['grad_norm']} "
                    f"(scenes {', '.join(step.scene_ids)}); lower optimizer.lr, set "
                    "train.clip_norm or schedule.warmup_steps, or look for nan in the features; "
                    "the checkpoints saved so far are sound"
                )


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
