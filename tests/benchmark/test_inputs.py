"""Generated scenes: the same every time, of the sizes and densities that are reported."""

from __future__ import annotations

import pytest
import torch

from pointseg.benchmark.inputs import (
    HALL_VOXEL_SIZE_M,
    LIDAR,
    Scene,
    hall_points,
    neighbors_of_27,
    room_points,
    rooms,
)
from pointseg.benchmark.street import NOISE_M, RANGE_M, SENSOR_HEIGHT_M, street_sweep


def test_rooms_have_the_sizes_their_names_say() -> None:
    assert torch.equal(room_points(), room_points())
    for room in rooms("20k", "80k", "150k", "500k"):
        wanted = 1000 * int(room.name.removesuffix("k"))
        assert abs(room.grid().num_voxels / wanted - 1) < 0.07, room


def test_the_sweep_is_a_lidars() -> None:
    points = street_sweep()
    assert torch.equal(points, street_sweep())
    assert not torch.equal(points[:1000], street_sweep(seed=1)[:1000])
    sensor = torch.tensor([0.0, 0.0, SENSOR_HEIGHT_M])
    distance = (points - sensor).norm(dim=1)
    assert distance.min() >= RANGE_M[0] - 1e-3 and distance.max() <= RANGE_M[1] + 1e-3
    assert points[:, 2].min() > -6 * NOISE_M  # nothing below the ground
    near_ground = (points[:, 2].abs() < 3 * NOISE_M).float().mean()
    assert 0.2 < near_ground < 0.8  # the rest are facades, cars and poles
    grid = LIDAR.grid()
    assert 90_000 < grid.num_voxels < 120_000
    assert 3 < neighbors_of_27(grid) < 6


@pytest.mark.parametrize("size", [1000, 30_000, 200_000])
def test_halls_have_the_voxels_asked_for(size: int) -> None:
    hall = Scene("hall", HALL_VOXEL_SIZE_M, lambda: hall_points(size))
    assert torch.equal(hall.points(), hall.points())
    assert hall.grid().num_voxels == pytest.approx(size, rel=1e-3)


def test_halls_of_all_sizes_are_about_as_dense() -> None:
    sizes = (10_000, 80_000, 250_000)
    dense = [neighbors_of_27(Scene("", 0.05, lambda n=n: hall_points(n)).grid()) for n in sizes]
    assert max(dense) / min(dense) < 1.25
