"""Grids of known shapes, and occupied shares counted one voxel at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from pointseg.sparse import KernelSpec, RegionSet, VoxelGrid

# Shapes lie this far apart, so that none sees another at stride 1.
CELL = 100
SIZES = (4, 8, 12, 16, 24)


def grid_of(xyz: np.ndarray) -> VoxelGrid:
    """One scene of the voxels [N, 3]."""
    coords = np.concatenate([np.zeros((len(xyz), 1)), xyz], axis=1).astype(np.int32)
    return VoxelGrid(torch.from_numpy(coords))


def box(nx: int, ny: int, nz: int) -> np.ndarray:
    axes = np.meshgrid(np.arange(nx), np.arange(ny), np.arange(nz), indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, 3)


def sheet(size: float, axis: int) -> np.ndarray:
    """Points of a square across one axis, dense enough to leave no hole in its voxels."""
    line = np.arange(0, size, 0.4)
    a, b = np.meshgrid(line, line, indexing="ij")
    flat = np.stack([a, b, np.zeros_like(a)], axis=-1).reshape(-1, 3)
    return np.roll(flat, axis - 2, axis=1)


def rod(length: float, axis: int) -> np.ndarray:
    points = np.zeros((len(np.arange(0, length, 0.4)), 3))
    points[:, axis] = np.arange(0, length, 0.4)
    return points


def turned(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points in a random orientation."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return points @ (q * np.sign(np.diag(r))).T


def shapes(rng: np.random.Generator | None) -> tuple[VoxelGrid, dict[str, np.ndarray]]:
    """Planes, edges, corners, rods and isolated voxels of several sizes, far from each other.

    Surfaces are turned at random; None: they lie along the axes. Returns the grid and, by kind, the
    mask [N] of its rows.
    """
    parts: list[tuple[str, np.ndarray]] = []
    for size in SIZES:
        x, y, z = (sheet(size, axis) for axis in range(3))
        parts += [("plane", points) for points in (x, y, z)]
        parts += [("edge", np.concatenate([z, x])), ("edge", np.concatenate([z, y]))]
        parts += [("corner", np.concatenate([x, y, z]))]
        parts += [("rod", rod(3 * size, axis)) for axis in range(3)]
    xyz, kinds = [], []
    for index, (kind, points) in enumerate(parts):
        points = points if rng is None else turned(points, rng)
        voxels = np.unique(np.floor(points).astype(np.int64), axis=0)
        xyz.append(voxels + np.array([index % 8, index // 8, 0]) * CELL)
        kinds += [kind] * len(voxels)
    isolated = box(7, 7, 7) * 9 + np.array([0, 0, 3 * CELL])
    names = np.array(kinds + ["isolated"] * len(isolated))
    grid = grid_of(np.concatenate([*xyz, isolated]))
    return grid, {str(kind): names == kind for kind in np.unique(names)}


def counted_shares(grid: VoxelGrid, regions: RegionSet, rows: Iterable[int]) -> np.ndarray:
    """Occupied share [rows, D] of each region, by looking every place up in a set."""
    voxels = {tuple(row) for row in grid.coords.tolist()}
    shares = []
    for row in rows:
        scene, x, y, z = grid.coords[row].tolist()
        shares.append([])
        for region in regions:
            hits = 0
            for tap in region.taps:
                dx, dy, dz = region.spec.offsets[tap]
                step = grid.stride * region.spec.dilation
                hits += (scene, x + step * dx, y + step * dy, z + step * dz) in voxels
            shares[-1].append(hits / len(region.taps))
    return np.array(shares)


def neighbor_shares(grid: VoxelGrid, regions: RegionSet) -> np.ndarray:
    """Occupied share [N, D] of each region from the neighbour tables of its kernel."""
    columns = []
    for region in regions:
        table = grid.kernel_map(KernelSpec(region.spec.size, 1, region.spec.dilation)).neighbors()
        columns.append((table[:, list(region.taps)] >= 0).double().mean(dim=1))
    return torch.stack(columns, dim=1).numpy()
