"""The order of training scenes: a pure function of (seed, epoch), so that a position is all there
is to save.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def epoch_order(num_scenes: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of ``0..num_scenes-1`` in which the scenes of ``epoch`` are seen. int64
    [num_scenes].
    """
    return np.random.default_rng([seed, epoch]).permutation(num_scenes)


class SceneStream(Sampler[list[tuple[int, int]]]):
    """Endless batches of ``(epoch, scene index)`` from a position on.

    The epochs follow each other without a gap: batch ``b`` holds the entries ``b * batch_size`` and
    on of their concatenation, so no batch is short and every scene is seen once an epoch, also
    where the batch size does not divide the number of scenes. ``position`` counts entries:
    ``(epoch, index in epoch) = divmod(position, num_scenes)``.

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

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return itertools.islice(self._all_batches(), self.rank, None, self.num_ranks)

    def _all_batches(self) -> Iterator[list[tuple[int, int]]]:
        epoch, index = divmod(self.position, self.num_scenes)
        order = epoch_order(self.num_scenes, self.seed, epoch)
        batch: list[tuple[int, int]] = []
        while True:
            if index == self.num_scenes:
                epoch, index = epoch + 1, 0
                order = epoch_order(self.num_scenes, self.seed, epoch)
            batch.append((epoch, int(order[index])))
            index += 1
            if len(batch) == self.batch_size:
                yield batch
                batch = []
