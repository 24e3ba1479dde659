"""Regions out of occupancy patterns: clusters of voxels whose surroundings look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointseg.geometry.patterns import Patterns
from pointseg.sparse import KernelSpec, Region, RegionSet

_RESTARTS = 4


@dataclass(frozen=True)
class FitSettings:
    """What fitted regions are made of.

    Attributes:
        entries: D, regions a stride.
        taps: taps of each region, the centre among them.
        kernel: the kernel that taps are chosen from.
        symmetric: choose taps together with their mirrors. The kernel map lists mirrors anyway,
            so symmetric regions cost less; others can tell the two sides of an edge.
        seed: of the clustering.

    Raises:
        ValueError: a kernel that no region can have, or numbers that leave no choice.
    """

    entries: int = 3
    taps: int = 27
    kernel: KernelSpec = KernelSpec(5)
    symmetric: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.kernel.is_symmetric:
            raise ValueError(f"kernel: expected stride 1 and an odd size, got {self.kernel}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected 0..{2**32 - 1}, got {self.seed}")
        if self.entries < 1:
            raise ValueError(f"entries: expected at least 1, got {self.entries}")
        most = self.kernel.num_taps - (self.entries > 1)
        if not 1 <= self.taps <= most:
            raise ValueError(
                f"taps: expected 1..{most} for {self.entries} different regions in a kernel of "
                f"{self.kernel.num_taps} taps, got {self.taps}"
            )
        if self.symmetric and self.taps % 2 == 0:
            raise ValueError(
                f"taps: a symmetric region has the centre and pairs, so an odd number of taps; "
                f"got {self.taps}"
            )


def fit_regions(patterns: Patterns, settings: FitSettings) -> RegionSet:
    """Cluster patterns into D kinds of surroundings, and give each the taps it fills most.

    k-means on the bits; the region of a cluster is the centre tap and the taps that are occupied
    around most of its voxels, nearer ones first among equals. Larger clusters come first. All
    regions differ. The same patterns and settings give the same regions.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: patterns of other offsets than the kernel's, or fewer different patterns than
            regions.
    """
    kernel = settings.kernel
    d = kernel.dilation
    if patterns.offsets != tuple((d * x, d * y, d * z) for x, y, z in kernel.offsets):
        raise ValueError(f"patterns: expected those of the offsets of {kernel}")
    different = len(np.unique(patterns.bits, axis=0))
    if different < settings.entries:
        raise ValueError(
            f"{settings.entries} regions asked for, but the {patterns.num_voxels} voxels have only "
            f"{different} different surroundings: take more scenes or fewer entries"
        )
    occupied = patterns.occupied()
    cluster = _clusters(occupied, settings)
    counts = np.stack(
        [occupied[cluster == c].sum(axis=0, dtype=np.int64) for c in range(settings.entries)]
    )
    sizes = np.bincount(cluster, minlength=settings.entries)
    order = sorted(range(settings.entries), key=lambda c: (-sizes[c], tuple(-counts[c])))
    chosen: list[tuple[int, ...]] = []
    for c in order:
        chosen.append(_taps(counts[c], settings, chosen))
    return RegionSet(tuple(Region(kernel, taps) for taps in chosen))


def _clusters(occupied: NDArray[np.uint8], settings: FitSettings) -> NDArray[np.int64]:
    """Cluster [S] of every pattern, with the same result on any machine's number of threads."""
    if settings.entries == 1:
        return np.zeros(len(occupied), dtype=np.int64)
    k_means, threads = _scikit_learn()
    model = k_means(n_clusters=settings.entries, n_init=_RESTARTS, random_state=settings.seed)
    # Threads would add up the centres in the order in which they finish.
    with threads(limits=1):
        labels = model.fit_predict(occupied.astype(np.float64))
    return np.asarray(labels, dtype=np.int64)


def _scikit_learn() -> tuple[Any, Any]:
    try:
        from sklearn.cluster import KMeans

        threads = import_module("threadpoolctl")  # comes with scikit-learn
    except ImportError as error:
        raise ImportError(
            "fitting regions needs scikit-learn; install it with: pip install scikit-learn"
        ) from error
    return KMeans, threads.threadpool_limits


def _taps(
    counts: NDArray[np.int64], settings: FitSettings, taken: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    """The fullest taps of a cluster, ascending, that are no region of ``taken``."""
    offsets = settings.kernel.offsets
    centre = offsets.index((0, 0, 0))
    mirror = settings.kernel.mirror if settings.symmetric else range(len(offsets))
    groups = sorted({tuple(sorted({k, mirror[k]})) for k in range(len(offsets)) if k != centre})

    def rank(group: tuple[int, ...]) -> tuple[float, int, tuple[int, ...]]:
        occupied = sum(int(counts[k]) for k in group) / len(group)
        return -occupied, sum(v * v for v in offsets[group[0]]), group

    groups.sort(key=rank)
    wanted = (settings.taps - 1) // (2 if settings.symmetric else 1)
    # Two clusters may fill the same taps most: the later one gives up its last tap for the next.
    for last in range(wanted - 1, len(groups)) if wanted else (0,):
        members = groups[: wanted - 1] + [groups[last]] if wanted else []
        taps = tuple(sorted({centre, *(k for group in members for k in group)}))
        if taps not in taken:
            return taps
    raise ValueError(
        f"entries: {settings.entries} clusters leave no {settings.entries} different regions of "
        f"{settings.taps} taps; ask for fewer entries or another number of taps"
    )
