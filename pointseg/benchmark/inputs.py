"""Inputs made from a seed: a furnished room, a hall of rooms, and a sweep of a spinning lidar."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pointseg.benchmark.street import street_sweep
from pointseg.ops import voxelize_points
from pointseg.sparse import KernelSpec, VoxelGrid

VOXEL_SIZES_M = {"20k": 0.1, "80k": 0.05, "150k": 0.037, "500k": 0.02}  # by number of voxels
SPACING_M = 0.011  # dense enough that no 2 cm voxel of a surface stays empty
CORNER_M = (4.35, 4.0)  # along x and y
HALL_VOXEL_SIZE_M = 0.05
HALL_SPACING_M = 0.025  # a few points in every voxel; the largest halls have 20 million
HALL_PITCH_M = 8.0  # from room to room


def room_points(seed: int = 0, spacing_m: float = SPACING_M) -> Tensor:
    """Points on the floor, the walls and the furniture of a room, float32 [P, 3] in metres.

    A 7.6 m x 6.6 m room without a ceiling and 20 boxes at random angles: about 80 thousand
    voxels of 5 cm, 500 thousand of 2 cm, with about 10 neighbours of 27.
    """
    generator = torch.Generator().manual_seed(seed)

    def rectangle(corner: list[float], u: list[float], v: list[float]) -> Tensor:
        origin, edge_u, edge_v = (torch.tensor(side) for side in (corner, u, v))
        steps_u = max(1, math.ceil(edge_u.norm().item() / spacing_m))
        steps_v = max(1, math.ceil(edge_v.norm().item() / spacing_m))
        i, j = torch.meshgrid(torch.arange(steps_u), torch.arange(steps_v), indexing="ij")
        cells = torch.stack([i.flatten(), j.flatten()], 1)
        share = (cells + torch.rand(cells.shape, generator=generator)) / torch.tensor(
            [steps_u, steps_v]
        )
        return origin + share[:, :1] * edge_u + share[:, 1:] * edge_v

    length, width, height = 7.6, 6.6, 2.6
    base = 0.013  # not on the face of a voxel
    x, y, z = [length, 0.0, 0.0], [0.0, width, 0.0], [0.0, 0.0, height]
    corner = [base, base, base]
    pieces = [rectangle(corner, x, y), rectangle(corner, x, z), rectangle(corner, y, z)]
    pieces += [rectangle([base, width, base], x, z), rectangle([length, base, base], y, z)]
    for _ in range(20):
        px, py, yaw, a, b, c = torch.rand(6, generator=generator).tolist()
        px, py, yaw = 0.8 + px * 5.0, 0.8 + py * 4.2, yaw * math.pi
        a, b, c = 0.4 + 1.2 * a, 0.4 + 0.5 * b, 0.3 + 1.1 * c
        u = [a * math.cos(yaw), a * math.sin(yaw), 0.0]
        v = [-b * math.sin(yaw), b * math.cos(yaw), 0.0]
        far = [px + u[0] + v[0], py + u[1] + v[1], base]
        back_u, back_v, up = [-s for s in u], [-s for s in v], [0.0, 0.0, c]
        near = [px, py, base]
        pieces += [rectangle(near, u, up), rectangle(near, v, up), rectangle([px, py, c], u, v)]
        pieces += [rectangle(far, back_u, up), rectangle(far, back_v, up)]
    return torch.cat(pieces)


def corner_points() -> Tensor:
    """Points of a corner of the room, float32 [P, 3]: about 150 thousand voxels of 2 cm."""
    points = room_points()
    return points[(points[:, 0] < CORNER_M[0]) & (points[:, 1] < CORNER_M[1])]


@dataclass(frozen=True)
class Scene:
    """A named input: points, and the edge of the voxels they are put into.

    Attributes:
        name: what names of cases end with; of a room the approximate number of voxels.
        voxel_size_m: edge of a voxel.
        points: makes float32 [P, 3] in metres, the same at every call.
    """

    name: str
    voxel_size_m: float
    points: Callable[[], Tensor] = room_points

    def grid(self, device: torch.device | str = "cpu") -> VoxelGrid:
        """Its voxels, rows sorted: a new grid without any maps."""
        coords = voxelize_points(self.points(), self.voxel_size_m).coords
        return VoxelGrid(coords, num_scenes=1).to(device)


LIDAR = Scene("lidar", 0.05, street_sweep)
CORNER = Scene("corner", 0.02, corner_points)


def rooms(*names: str) -> tuple[Scene, ...]:
    """The room at several voxel sizes, by name."""
    return tuple(Scene(name, VOXEL_SIZES_M[name]) for name in names)


def neighbors_of_27(grid: VoxelGrid) -> float:
    """How many voxels of the 3x3x3 cube around a voxel are there on average, itself included."""
    return grid.kernel_map(KernelSpec(3)).num_pairs / max(grid.num_voxels, 1)


def hall_points(num_voxels: int) -> Tensor:
    """Points of rooms side by side, float32 [P, 3], in `num_voxels` voxels of 5 cm.

    Every room is furnished differently. Of the last one only the middle is there: its voxels by
    their distance from the centre, until there are enough. So small halls have floor and furniture,
    and all sizes are about as dense.
    """
    pieces: list[Tensor] = []
    missing = num_voxels
    while missing > 0:
        points = room_points(len(pieces), HALL_SPACING_M)
        found = voxelize_points(points, HALL_VOXEL_SIZE_M)
        if found.coords.shape[0] > missing:
            points = points[_middle(found.coords, missing)[found.inverse.long()]]
        missing -= min(missing, found.coords.shape[0])
        pieces.append(points + torch.tensor([len(pieces) * HALL_PITCH_M, 0.0, 0.0]))
    return torch.cat(pieces)


def _middle(coords: Tensor, count: int) -> Tensor:
    """Whether each voxel of a room is one of the `count` nearest to its centre, seen from above."""
    plan = coords[:, 1:3].double()
    distance = (plan - plan.mean(dim=0)).norm(dim=1)
    kept = torch.zeros(coords.shape[0], dtype=torch.bool)
    kept[distance.argsort(stable=True)[:count]] = True
    return kept
