"""A dataset's surroundings at every stride, and what they say about regions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pointseg.geometry.fitting import FitSettings, fit_regions
from pointseg.geometry.patterns import Offset, Patterns, merge_patterns, occupancy_patterns
from pointseg.geometry.preference import preferred_entry
from pointseg.geometry.region_file import StageRegions
from pointseg.sparse import Region, RegionSet, VoxelGrid

MIN_DEVIATION = 1e-3


@dataclass(frozen=True)
class Sampling:
    """Which voxels are looked at.

    Attributes:
        strides: of the grids, each a multiple of the scenes' own stride.
        voxels_per_scene: drawn at every stride; all voxels of a scene that has no more.
        seed: of the draw.
    """

    strides: tuple[int, ...] = (1, 2, 4, 8, 16)
    voxels_per_scene: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.strides or any(s < 1 for s in self.strides):
            raise ValueError(f"strides: expected numbers of at least 1, got {self.strides}")
        if any(low >= high for low, high in zip(self.strides, self.strides[1:], strict=False)):
            raise ValueError(f"strides: expected ascending numbers, each once, got {self.strides}")
        if self.voxels_per_scene < 1:
            raise ValueError(f"voxels_per_scene: expected at least 1, got {self.voxels_per_scene}")
        if self.seed < 0:
            raise ValueError(f"seed: expected at least 0, got {self.seed}")


def fit_stages(
    grids: Iterable[VoxelGrid], settings: FitSettings, sampling: Sampling
) -> tuple[StageRegions, ...]:
    """Fit regions at every stride to the scenes, and measure them on the voxels they came from.

    Args:
        grids: one a scene; gone through once.

    Raises:
        ValueError: no scene, or too few different surroundings at a stride.
    """
    stages = []
    offsets = Region(settings.kernel).offsets
    for stride, patterns in _patterns(grids, offsets, sampling):
        try:
            regions = fit_regions(patterns, settings)
        except ValueError as error:
            raise ValueError(f"stride {stride}: {error}") from error
        stages.append(measure_stage(stride, regions, patterns))
    return tuple(stages)


def measure_stages(
    grids: Iterable[VoxelGrid], regions: RegionSet, sampling: Sampling
) -> tuple[StageRegions, ...]:
    """The statistics of given regions at every stride, without fitting anything."""
    offsets = sorted({offset for region in regions for offset in region.offsets})
    return tuple(
        measure_stage(stride, regions, patterns)
        for stride, patterns in _patterns(grids, offsets, sampling)
    )


def measure_stage(stride: int, regions: RegionSet, patterns: Patterns) -> StageRegions:
    """Mean and deviation of every region's occupied share, and how many voxels prefer it.

    A deviation is at least 0.001, so that a region whose share never changes stays neutral
    instead of dividing by zero.
    """
    if not patterns.num_voxels:
        raise ValueError(f"stride {stride}: the scenes have no voxels to measure regions on")
    shares = patterns.shares(regions)
    values = shares.numpy().astype(np.float64)
    mean = tuple(round(float(v), 6) for v in values.mean(axis=0))
    std = tuple(round(max(float(v), MIN_DEVIATION), 6) for v in values.std(axis=0))
    counts = np.bincount(preferred_entry(shares, mean, std).numpy(), minlength=len(regions))
    preferred = tuple(round(float(v), 6) for v in counts / patterns.num_voxels)
    return StageRegions(stride, regions, mean, std, preferred, patterns.num_voxels)


def _patterns(
    grids: Iterable[VoxelGrid], offsets: Sequence[Offset], sampling: Sampling
) -> Iterable[tuple[int, Patterns]]:
    """The patterns of all scenes at every stride."""
    parts: dict[int, list[Patterns]] = {stride: [] for stride in sampling.strides}
    for scene, grid in enumerate(grids):
        for stride in sampling.strides:
            if stride % grid.stride:
                raise ValueError(f"strides: {stride} is no multiple of the scene's {grid.stride}")
            coarse = grid.downsample(stride // grid.stride)
            seed = (sampling.seed, scene, stride)
            parts[stride].append(
                occupancy_patterns(coarse, offsets, sampling.voxels_per_scene, seed)
            )
    for stride, found in parts.items():
        if not found:
            raise ValueError("grids: expected at least one scene, got none")
        yield stride, merge_patterns(found)
