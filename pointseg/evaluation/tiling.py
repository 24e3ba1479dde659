"""Scenes of any size: overlapping xy tiles with bounded numbers of voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.sparse import SparseTensor, VoxelGrid


@dataclass(frozen=True)
class Tiling:
    """How scenes are cut.

    Attributes
    ----------
    max_voxels
        Bound of the voxels that the network sees at once; a scene with no more is not cut.
    margin
        Width of the strip around a tile's core that the network sees besides, in voxels.

    Raises ValueError for a bound below 1 or a negative margin.
    """

    max_voxels: int
    margin: int

    def __post_init__(self) -> None:
        if self.max_voxels < 1:
            raise ValueError(f"max_voxels must be at least 1, got {self.max_voxels}")
        if self.margin < 0:
            raise ValueError(f"margin must not be negative, got {self.margin}")

    @property
    def statement(self) -> str:
        """Such as ``tiles of at most 500,000 voxels with a margin of 64``."""
        return f"tiles of at most {self.max_voxels:,} voxels with a margin of {self.margin}"


@dataclass(frozen=True, eq=False)
class Tile:
    """Part of a scene: what the network sees, and which part of that it decides.

    Attributes
    ----------
    rows : int64 [M], ascending
        Rows of the scene's voxels in the core and in the margin around it.
    in_core : bool [M]
        Whose label is taken from this tile. Every voxel is in the core of exactly one tile.
    """

    rows: np.ndarray
    in_core: np.ndarray


def plan_tiles(voxel_xy: np.ndarray, tiling: Tiling) -> list[Tile]:
    """Cut a scene into tiles of at most ``tiling.max_voxels`` voxels, margin included.

    A rectangle that holds too many is halved across its longer side, at the middle of its voxels,
    until all fit; so tiles follow where the voxels are. Cores are half-open integer intervals:
    they do not overlap and leave nothing out.

    Parameters
    ----------
    voxel_xy
        Integer [N, 2], x and y of each voxel, in voxels.

    Raises
    ------
    ValueError
        If a rectangle holds more than ``max_voxels`` and is already so narrow that most of what the
        network sees would be margin, or cannot be halved at all.
    """
    max_voxels, margin = tiling.max_voxels, tiling.margin
    tiles: list[Tile] = []
    if len(voxel_xy) == 0:
        return tiles
    xy = np.asarray(voxel_xy, dtype=np.int64)
    waiting = [(np.arange(len(xy)), xy.min(axis=0), xy.max(axis=0) + 1)]
    while waiting:
        # `candidates` always holds every voxel of core and margin, so each cut looks at fewer
        candidates, low, high = waiting.pop()
        core = xy[candidates[_within(xy[candidates], low, high)]]
        if not len(core):
            continue
        # no wider than its voxels, or the margin would hold what none of them needs
        low, high = core.min(axis=0), core.max(axis=0) + 1
        rows = candidates[_within(xy[candidates], low - margin, high + margin)]
        in_core = _within(xy[rows], low, high)
        if len(rows) <= max_voxels:
            tiles.append(Tile(rows, in_core))
            continue
        cut = _halving_cut(core, smallest=max(1, margin // 2))
        if cut is None:
            raise ValueError(
                f"max_voxels = {max_voxels} is too few for this scene: around voxel x, y = "
                f"{core[0].tolist()} a margin of {margin} voxels alone holds "
                f"{len(rows)}; allow more at once (--max-voxels) or a narrower margin (--margin)"
            )
        for side_low, side_high in _halves(low, high, *cut):
            waiting.append((rows, side_low, side_high))
    return tiles


def in_tiles(
    function: Callable[[SparseTensor], Tensor], voxels: SparseTensor, tiling: Tiling
) -> Tensor:
    """``function(voxels)``, one row per voxel, in as many calls as ``tiling`` asks for.

    Features and coordinates of a tile are those of the whole, so that strided grids lie where they
    did and a tile differs from the whole only beyond its margin: where the margin covers how far
    the network looks, rows are the same. What fits is one call. Scenes are cut one by one.
    """
    if voxels.num_voxels <= tiling.max_voxels:
        return function(voxels)
    coords = voxels.grid.coords.cpu().numpy()
    out: Tensor | None = None
    for scene in range(voxels.grid.num_scenes):
        (scene_rows,) = np.nonzero(coords[:, 0] == scene)
        for tile in plan_tiles(coords[scene_rows, 1:3], tiling):
            rows = torch.from_numpy(scene_rows[tile.rows])
            values = function(_part(voxels, rows))
            if out is None:
                out = values.new_empty(voxels.num_voxels, *values.shape[1:])
            core = torch.from_numpy(tile.in_core)
            out[rows[core].to(out.device)] = values[core.to(out.device)]
    assert out is not None  # more voxels than max_voxels are at least two
    return out


def margin_of(model: nn.Module) -> int:
    """The margin with which tiles give what the whole scene gives, in voxels.

    It is the theoretical receptive field on one side, which the model declares (``model.reach()``).

    Raises
    ------
    ValueError
        If it declares none.
    """
    declared = getattr(model, "reach", None)
    if declared is None:
        raise ValueError(
            f"{type(model).__name__} does not say how far it looks (reach()), so that the margin "
            "of tiles cannot follow from it; give the margin in voxels"
        )
    return int(declared().margin)


def _part(voxels: SparseTensor, rows: Tensor) -> SparseTensor:
    grid = voxels.grid
    own = VoxelGrid(grid.coords[rows.to(grid.device)], grid.stride, grid.num_scenes)
    return SparseTensor(voxels.feats[rows.to(voxels.feats.device)], own)


def _within(xy: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    inside = (xy >= low) & (xy < high)
    return inside[:, 0] & inside[:, 1]


def _halving_cut(xy: np.ndarray, smallest: int) -> tuple[int, int] | None:
    """Axis and position of a cut with voxels on both sides; None where both sides are small."""
    extent = xy.max(axis=0) - xy.min(axis=0) + 1
    axis = int(np.argmax(extent))
    if extent[axis] <= smallest:
        return None
    # the median can be the lowest value itself, which would leave the lower side empty
    return axis, max(int(np.median(xy[:, axis])), int(xy[:, axis].min()) + 1)


def _halves(
    low: np.ndarray, high: np.ndarray, axis: int, cut: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    lower_high, upper_low = high.copy(), low.copy()
    lower_high[axis] = upper_low[axis] = cut
    yield low, lower_high
    yield upper_low, high
