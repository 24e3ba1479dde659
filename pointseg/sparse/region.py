"""Regions: the parts of space around a voxel that codebook entries look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pointseg.sparse.spec import KernelSpec


@dataclass(frozen=True)
class Region:
    """A kernel and the taps of it that exist.

    The kernel map is that of the whole kernel; taps outside the region are skipped when it is
    walked and have no parameters, so nothing can bring them back.

    Attributes:
        spec: stride 1, odd size.
        taps: indices into ``spec.offsets``, ascending; all taps where it is left out (None).

    Raises:
        ValueError: a strided or even kernel, no tap, a tap twice, out of order or not of `spec`.
    """

    spec: KernelSpec
    taps: tuple[int, ...] = None  # type: ignore[assignment]  # after __init__ never None

    def __post_init__(self) -> None:
        if not self.spec.is_symmetric:
            raise ValueError(f"spec: a region needs stride 1 and an odd size, got {self.spec}")
        taps = range(self.spec.num_taps) if self.taps is None else self.taps
        taps = tuple(taps)
        object.__setattr__(self, "taps", taps)
        if not taps:
            raise ValueError("taps: a region needs at least one tap, got none")
        if any(not isinstance(tap, int) or not 0 <= tap < self.spec.num_taps for tap in taps):
            raise ValueError(f"taps: expected indices 0..{self.spec.num_taps - 1}, got {taps}")
        if any(low >= high for low, high in zip(taps, taps[1:], strict=False)):
            raise ValueError(f"taps: expected ascending indices, each once, got {taps}")

    @property
    def num_taps(self) -> int:
        """Taps that exist."""
        return len(self.taps)

    @property
    def is_full(self) -> bool:
        """Whether no tap of the kernel is left out."""
        return self.num_taps == self.spec.num_taps

    @property
    def offsets(self) -> tuple[tuple[int, int, int], ...]:
        """Offset (x, y, z) of each tap in voxels of the grid, dilation multiplied in."""
        d = self.spec.dilation
        offsets = (self.spec.offsets[tap] for tap in self.taps)
        return tuple((d * x, d * y, d * z) for x, y, z in offsets)

    @cached_property
    def listed_taps(self) -> tuple[int, ...]:
        """The taps and their mirrors: what a map lists, so that it serves both directions."""
        mirror = self.spec.mirror
        return tuple(sorted({*self.taps, *(mirror[tap] for tap in self.taps)}))


@dataclass(frozen=True)
class RegionSet:
    """The regions of the D entries of a codebook, in order.

    Weights of all entries are packed in one tensor [sum of K_d, ...]: entry d owns the rows
    ``tap_starts[d]:tap_starts[d + 1]``, one per tap, in tap order.
    """

    regions: tuple[Region, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))
        if not self.regions or not all(isinstance(r, Region) for r in self.regions):
            raise ValueError(f"regions: expected at least one Region, got {self.regions!r}")

    def __len__(self) -> int:
        return len(self.regions)

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    @property
    def num_taps(self) -> int:
        """Taps of all entries together: the rows of packed weights."""
        return sum(region.num_taps for region in self.regions)

    @property
    def tap_starts(self) -> tuple[int, ...]:
        """D + 1 numbers: where the packed rows of each entry begin, and the end."""
        starts = [0]
        for region in self.regions:
            starts.append(starts[-1] + region.num_taps)
        return tuple(starts)


def cubes(*dilations: int, size: int = 3) -> RegionSet:
    """Full cubes of one size, one entry per dilation."""
    return RegionSet(tuple(Region(KernelSpec(size, dilation=d)) for d in dilations))
