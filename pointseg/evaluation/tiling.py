"""Labelling a scene of any size: overlapping xy tiles with bounded numbers of voxels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pointseg.evaluation.inference import predict_voxels

if TYPE_CHECKING:
    from pointseg.data import VoxelScene


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


def plan_tiles(voxel_xy: np.ndarray, max_voxels: int, margin: int) -> list[Tile]:
    """Cut a scene into tiles of at most ``max_voxels`` voxels, margin included.

    A rectangle that holds too many is halved across its longer side, at the middle of its voxels,
    until all fit; so tiles follow where the voxels are. Cores are half-open integer intervals:
    they do not overlap and leave nothing out.

    Parameters
    ----------
    voxel_xy
        Integer [N, 2], x and y of each voxel, in voxels.
    max_voxels
        Bound of the voxels that the network sees at once.
    margin
        Width of the strip around a core that the network sees and does not label, in voxels.

    Raises
    ------
    ValueError
        If a rectangle holds more than ``max_voxels`` and is already so narrow that most of what the
        network sees would be margin, or cannot be halved at all.
    """
    if max_voxels < 1:
        raise ValueError(f"max_voxels must be at least 1, got {max_voxels}")
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    tiles: list[Tile] = []
    if len(voxel_xy) == 0:
        return tiles
    xy = np.asarray(voxel_xy, dtype=np.int64)
    waiting = [(np.arange(len(xy)), xy.min(axis=0), xy.max(axis=0) + 1)]
    while waiting:
        # `candidates` always holds every voxel of core and margin, so each cut looks at fewer
        candidates, low, high = waiting.pop()
        inside = _within(xy[candidates], low - margin, high + margin)
        rows = candidates[inside]
        in_core = _within(xy[rows], low, high)
        if not in_core.any():
            continue
        if len(rows) <= max_voxels:
            tiles.append(Tile(rows, in_core))
            continue
        cut = _halving_cut(xy[rows[in_core]], smallest=max(1, margin // 2))
        if cut is None:
            raise ValueError(
                f"max_voxels = {max_voxels} is too few for this scene: around voxel x, y = "
                f"{xy[rows[in_core]][0].tolist()} a margin of {margin} voxels alone holds "
                f"{len(rows)}; allow more at once (--max-points) or a narrower margin (--margin)"
            )
        for side_low, side_high in _halves(low, high, *cut):
            waiting.append((rows, side_low, side_high))
    return tiles


def predict_tiled(
    model: nn.Module, scene: VoxelScene, max_voxels: int, margin: int = 64
) -> np.ndarray:
    """One label for every raw point of ``scene``, in as many passes as ``max_voxels`` asks for.

    Features are those of the whole scene and coordinates keep their values, so a tile differs from
    the whole only beyond its margin: where the margin covers the network's reach, the labels are
    the same.

    Returns
    -------
    int16 [P] train ids.
    """
    from pointseg.sparse import SparseTensor, VoxelGrid

    coords = scene.coords.cpu().numpy()
    device = next((p.device for p in model.parameters()), scene.feats.device)
    voxel_classes = torch.full((coords.shape[0],), -1, dtype=torch.int16)
    for tile in plan_tiles(coords[:, :2], max_voxels, margin):
        rows = torch.from_numpy(tile.rows)
        batched = torch.nn.functional.pad(scene.coords[rows], (1, 0))  # batch index 0 in front
        voxels = SparseTensor(
            scene.feats[rows].to(device), VoxelGrid(batched, num_scenes=1).to(device)
        )
        classes = predict_voxels(model, voxels).cpu()
        core = torch.from_numpy(tile.in_core)
        voxel_classes[rows[core]] = classes[core]
    return voxel_classes[scene.point_to_voxel].numpy()


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
