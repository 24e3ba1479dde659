"""The order of training scenes: a pure function of (seed, epoch), so that a position is all there
is to save.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

SceneKey = tuple[int, int]
"""(epoch, scene index)."""


@dataclass(frozen=True)
class Share:
    """What one rank reads for one forward pass.

    scenes  at least one (epoch, scene index)
    end     position in the training order behind the pass, over all ranks
    loads   points that each rank reads for it, in the order of the ranks; empty where batches are
            not made by size
    """

    scenes: tuple[SceneKey, ...]
    end: int
    loads: tuple[int, ...] = ()


def epoch_order(num_scenes: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of ``0..num_scenes-1`` in which the scenes of ``epoch`` are seen. int64
    [num_scenes].
    """
    return np.random.default_rng([seed, epoch]).permutation(num_scenes)


def training_order(num_scenes: int, seed: int, position: int) -> Iterator[SceneKey]:
    """The entries ``(epoch, scene index)`` from a position on, without end.

    The epochs follow each other without a gap: ``(epoch, index in epoch) = divmod(position,
    num_scenes)``.
    """
    epoch, index = divmod(position, num_scenes)
    while True:
        for scene in epoch_order(num_scenes, seed, epoch)[index:].tolist():
            yield epoch, scene
        epoch, index = epoch + 1, 0


class SceneStream(Sampler[list[SceneKey]]):
    """Endless batches of ``(epoch, scene index)`` from a position on.

    Batch ``b`` holds the entries ``b * batch_size`` and on of the training order, so no batch is
    short and every scene is seen once an epoch, also where the batch size does not divide the
    number of scenes. ``position`` counts entries.

    Of several ranks, each takes its batch of ``num_ranks`` batches that follow each other, so that
    together they see what one rank sees in batches of ``num_ranks * batch_size``.
    """

    def __init__(
        self,
        num_scenes: int,
        batch_size: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if num_scenes < 1:
            raise ValueError("there are no training scenes")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.num_scenes = num_scenes
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.rank = rank
        self.num_ranks = num_ranks

    def __iter__(self) -> Iterator[list[SceneKey]]:
        return (list(share.scenes) for share in self.shares(self.position))

    def shares(self, position: int) -> Iterator[Share]:
        """The batches of this rank from a position on, each with the position behind its pass."""
        order = training_order(self.num_scenes, self.seed, position)
        first = self.rank * self.batch_size
        num_taken = self.num_ranks * self.batch_size
        while True:
            taken = tuple(itertools.islice(order, num_taken))
            position += num_taken
            yield Share(taken[first : first + self.batch_size], position)
