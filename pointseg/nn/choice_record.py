"""What can be seen of a choice: which entries are used, how decided voxels are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pointseg.nn.choice import best_entry
from pointseg.sparse import VoxelGrid


@dataclass(frozen=True, eq=False)
class ChoiceRecord:
    """The choice of one block.

    Attributes:
        choice: [N, H, D], without gradient.
        grid: its N voxels.
    """

    choice: Tensor
    grid: VoxelGrid


@dataclass(frozen=True, eq=False)
class ChoiceStatistics:
    """Sums over voxels and heads, small enough to keep; tensors stay on their device.

    Attributes:
        counts: [D], how often each entry had the largest share.
        entropy_sum: scalar, of the entropies of all choices in nats.
        total: number of choices, N * H.
    """

    counts: Tensor
    entropy_sum: Tensor
    total: int

    @classmethod
    def of(cls, choice: Tensor) -> ChoiceStatistics:
        """Of choice [N, H, D]."""
        choice = choice.detach().float()
        entries = choice.shape[2]
        # One comparison per entry: bincount sums with atomics on a GPU.
        best = best_entry(choice)
        counts = torch.stack([(best == entry).sum() for entry in range(entries)])
        return cls(counts, torch.special.entr(choice).sum(), best.numel())

    def __add__(self, other: ChoiceStatistics) -> ChoiceStatistics:
        """Of both together."""
        counts, entropy_sum = self.counts + other.counts, self.entropy_sum + other.entropy_sum
        return ChoiceStatistics(counts, entropy_sum, self.total + other.total)

    def usage(self) -> list[float]:
        """Share of the choices that each entry has, D numbers that add up to 1."""
        return [float(count) / max(self.total, 1) for count in self.counts]

    def perplexity(self) -> float:
        """exp of the entropy of the usage: how many entries are in use, 1 to D."""
        return math.exp(-sum(p * math.log(p) for p in self.usage() if p > 0))

    def entropy(self) -> float:
        """Mean entropy of a choice in nats, 0 (decided) to ln D (undecided)."""
        return float(self.entropy_sum) / max(self.total, 1)


def choice_entropy(choice: Tensor) -> Tensor:
    """Entropy over entries in nats, [N, H] of choice [N, H, D]."""
    # Straight-through shares add up to one only up to rounding.
    return torch.special.entr(choice).sum(dim=2).clamp(0.0, math.log(choice.shape[2]))


@contextmanager
def record_choices(model: nn.Module) -> Iterator[Mapping[str, ChoiceRecord]]:
    """Keep the choices of every codebook block of `model` while the context lasts.

    Yields a mapping, module path of a block -> `ChoiceRecord` of its last forward pass, which
    fills as the model runs. Empty for a model without codebook blocks. RuntimeError where the model
    is being recorded already.
    """
    blocks: dict[str, Any] = {
        name: module for name, module in model.named_modules() if hasattr(module, "recorder")
    }
    records: dict[str, ChoiceRecord] = {}
    if any(block.recorder is not None for block in blocks.values()):
        raise RuntimeError("record_choices: the choices of this model are being recorded already")
    for name, block in blocks.items():
        block.recorder = partial(records.__setitem__, name)
    try:
        yield MappingProxyType(records)
    finally:
        for block in blocks.values():
            block.recorder = None
