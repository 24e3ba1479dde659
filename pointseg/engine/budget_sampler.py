"""Batches by size: as many scenes as a budget of points holds, alike on all ranks."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from pointseg.engine.sampler import SceneKey, Share, training_order

logger = logging.getLogger(__name__)


class BudgetStream(Sampler[list[SceneKey]]):
    """Endless batches of ``(epoch, scene index)`` of one rank, from a position on.

    A *pass* takes the next entries of the training order and deals them out to all ranks: the
    largest scene first, each to the rank with the fewest points so far. It takes as many as that
    leaves no batch with more than ``budget`` points or ``batch_size`` scenes, and at least one a
    rank; so a scene above the budget is a batch of its own, and the only kind that is above it.

    Because every pass takes consecutive entries and gives every rank a batch, ranks never run out
    at different times, each scene is seen once an epoch over all ranks, and no batch is made up
    with scenes that were seen already: an epoch ends inside a pass, and the next one begins there.
    ``position`` counts entries over all ranks. A pass is a function of (position, seed, sizes,
    budget, batch_size, num_ranks) alone, so every rank knows what the others read without asking.

    sizes       points of every scene, the same on all ranks; 0 counts, too
    batch_size  most scenes of one batch
    """

    def __init__(
        self,
        sizes: Sequence[int],
        budget: int,
        batch_size: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if not sizes:
            raise ValueError("there are no training scenes")
        if min(sizes) < 0:
            raise ValueError(f"sizes must not be negative, got {min(sizes)}")
        if budget < 1 or batch_size < 1:
            raise ValueError(
                f"budget and batch_size must be at least 1, got {budget} and {batch_size}"
            )
        if not 0 <= rank < num_ranks:
            raise ValueError(f"rank must be in [0, {num_ranks}), got {rank}")
        self.sizes = tuple(sizes)
        self.budget = budget
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.rank = rank
        self.num_ranks = num_ranks

    def __iter__(self) -> Iterator[list[SceneKey]]:
        return (list(share.scenes) for share in self.shares(self.position))

    def shares(self, position: int) -> Iterator[Share]:
        """The batches of this rank from a position on, each with the position behind its pass."""
        order = training_order(len(self.sizes), self.seed, position)
        ahead: deque[SceneKey] = deque()
        most = self.num_ranks * self.batch_size
        while True:
            ahead.extend(next(order) for _ in range(most - len(ahead)))
            entries = list(ahead)
            sizes = [self.sizes[scene] for _, scene in entries]
            batches = deal_out(sizes, self.num_ranks, self.budget, self.batch_size)
            num_taken = sum(map(len, batches))
            for _ in range(num_taken):
                ahead.popleft()
            position += num_taken
            yield Share(
                scenes=tuple(entries[i] for i in batches[self.rank]),
                end=position,
                loads=tuple(sum(sizes[i] for i in batch) for batch in batches),
            )


def warn_of_large_scenes(scene_ids: Sequence[str], sizes: Sequence[int], budget: int) -> None:
    """One warning in the log where scenes are above the budget, so that it bounds no memory."""
    num_above = sum(size > budget for size in sizes)
    if num_above:
        largest = max(range(len(sizes)), key=lambda index: sizes[index])
        logger.warning(
            "%d of %d training scenes have more than train.max_points = %d points, and are batches "
            "of their own (largest: %s, %d points); the transform crop_to_budget bounds them",
            num_above, len(sizes), budget, scene_ids[largest], sizes[largest],
        )  # fmt: skip


def deal_out(sizes: Sequence[int], num_ranks: int, budget: int, batch_size: int) -> list[list[int]]:
    """Scenes from the first on, as many as fit, for every rank: indices into ``sizes``, ascending.

    ``sizes`` are those of at least ``num_ranks`` scenes, of which at most ``num_ranks *
    batch_size`` are taken. The number is found by bisection: one less fits, one more does not.
    """
    fits = _balanced(sizes[:num_ranks], num_ranks, budget, batch_size)
    assert fits is not None  # one scene a rank always does
    low, high = num_ranks, min(len(sizes), num_ranks * batch_size) + 1
    while high - low > 1:
        middle = (low + high) // 2
        batches = _balanced(sizes[:middle], num_ranks, budget, batch_size)
        if batches is None:
            high = middle
        else:
            low, fits = middle, batches
    return fits


def _balanced(
    sizes: Sequence[int], num_ranks: int, budget: int, batch_size: int
) -> list[list[int]] | None:
    """All scenes over the ranks, or None where that way of dealing breaks a bound.

    The largest of the remaining scenes goes to the rank with the fewest points, which keeps the
    fullest rank within 4/3 of what is possible (R. L. Graham, Bounds on multiprocessing timing
    anomalies, 1969) where the number of scenes is no bound.
    """
    batches: list[list[int]] = [[] for _ in range(num_ranks)]
    # The number of scenes comes second, so that scenes without points fill empty batches first.
    ranks = [(0, 0, rank) for rank in range(num_ranks)]
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        load, count, rank = heapq.heappop(ranks)
        load, count = load + sizes[index], count + 1
        if load > budget and count > 1:
            return None
        batches[rank].append(index)
        if count < batch_size:
            heapq.heappush(ranks, (load, count, rank))
    return [sorted(batch) for batch in batches]


class LoadBalance:
    """How evenly passes load the ranks, as numbers for the log."""

    def __init__(self, budget: int) -> None:
        """``budget``: points of a pass and rank, of which ``load_fill`` is the share."""
        self._budget = budget
        self._largest: list[int] = []
        self._mean: list[float] = []

    def add(self, loads: Sequence[int]) -> None:
        """Count a pass by the points of every rank; none where batches are not made by size."""
        if loads:
            self._largest.append(max(loads))
            self._mean.append(sum(loads) / len(loads))

    def take(self) -> dict[str, float]:
        """Numbers over the passes since the last call; none where none was counted.

        ``load_imbalance`` is the points of the fullest rank over those of the mean rank, summed
        over passes: 1.25 means that the mean rank waits a fifth of the time. ``load_fill`` is the
        points of the mean rank over the budget.
        """
        largest, mean, passes = sum(self._largest), sum(self._mean), len(self._mean)
        self._largest, self._mean = [], []
        if not passes:
            return {}
        return {
            "load_imbalance": largest / mean if mean else 1.0,
            "load_fill": mean / (passes * self._budget),
        }
