"""Inputs made from a seed: the surfaces of a furnished room."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pointseg.ops import voxelize_points
from pointseg.sparse import VoxelGrid

VOXEL_SIZES_M = {"20k": 0.1, "80k": 0.05, "150k": 0.037, "500k": 0.02}  # by number of voxels
SPACING_M = 0.011  # dense enough that no 2 cm voxel of a surface stays empty


def room_points(seed: int = 0) -> Tensor:
    """Points on the floor, the walls and the furniture of a room, float32 [P, 3] in metres.

    A 7.6 m x 6.6 m room without a ceiling and 20 boxes at random angles: about 80 thousand
    voxels of 5 cm, 500 thousand of 2 cm, with about 10 neighbours of 27.
    """
    generator = torch.Generator().manual_seed(seed)

    def rectangle(corner: list[float], u: list[float], v: list[float]) -> Tensor:
        origin, edge_u, edge_v = (torch.tensor(side) for side in (corner, u, v))
        steps_u = max(1, math.ceil(edge_u.norm().item() / SPACING_M))
        steps_v = max(1, math.ceil(edge_v.norm().item() / SPACING_M))
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


def room_grid(voxel_size_m: float, seed: int = 0) -> VoxelGrid:
    """The voxels of :func:`room_points`, rows sorted."""
    return VoxelGrid(voxelize_points(room_points(seed), voxel_size_m).coords, num_scenes=1)


@dataclass(frozen=True)
class Room:
    """The room at one voxel size, named after the approximate number of voxels."""

    name: str
    voxel_size_m: float

    def grid(self) -> VoxelGrid:
        """Its voxels, a new grid without any maps."""
        return room_grid(self.voxel_size_m)


def rooms(*names: str) -> tuple[Room, ...]:
    """Rooms by name."""
    return tuple(Room(name, VOXEL_SIZES_M[name]) for name in names)
