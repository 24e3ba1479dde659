"""Occupancy bits against places looked up one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointseg.geometry import merge_patterns, occupancy_patterns
from pointseg.sparse import KernelSpec, Region, RegionSet, VoxelGrid, cubes
from tests.geometry.shapes import counted_shares, grid_of, neighbor_shares, shapes

REGIONS = RegionSet(
    (
        *cubes(2, 1, 3),
        Region(KernelSpec(5), (0, 3, 62, 77, 124)),
        Region(KernelSpec(3, shape="cross")),
    )
)
OFFSETS = sorted({offset for region in REGIONS for offset in region.offsets})


@pytest.fixture(scope="module")
def cloud() -> VoxelGrid:
    """Two scenes of 600 voxels in a cube of 14, rows in no order."""
    rng = np.random.default_rng(3)
    scenes = [rng.choice(14**3, 600, replace=False) for _ in range(2)]
    rows = [
        [b, c % 14 - 7, c // 14 % 14 - 7, c // 196 - 7] for b, s in enumerate(scenes) for c in s
    ]
    return VoxelGrid(torch.tensor(rows, dtype=torch.int32)[torch.randperm(1200)])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_shares_are_those_of_counting(cloud: VoxelGrid, stride: int) -> None:
    grid = cloud.downsample(stride)
    shares = occupancy_patterns(grid, OFFSETS).shares(REGIONS)
    assert shares.dtype == torch.float32
    in_key_order = grid.order.tolist()
    counted = counted_shares(grid, REGIONS, in_key_order)
    np.testing.assert_array_equal(shares.numpy(), counted.astype(np.float32))


def test_shares_are_those_of_a_region_map(cloud: VoxelGrid) -> None:
    found = cloud.region_map(REGIONS).shares()[cloud.order.long()]
    # Up to 27 additions of 1/27 in float32.
    patterns = occupancy_patterns(cloud, OFFSETS)
    torch.testing.assert_close(patterns.shares(REGIONS), found, rtol=0, atol=2e-6)


def test_bits_are_packed_lowest_first(cloud: VoxelGrid) -> None:
    offsets = KernelSpec(3).offsets
    patterns = occupancy_patterns(cloud, offsets)
    assert patterns.bits.shape == (1200, 4)
    table = cloud.kernel_map(KernelSpec(3)).neighbors()[cloud.order.long()]
    np.testing.assert_array_equal(patterns.occupied(), (table >= 0).numpy())
    assert (patterns.bits[:, 13 // 8] >> 13 % 8 & 1).all(), "the voxel itself"


def test_drawn_voxels_see_all_voxels(cloud: VoxelGrid) -> None:
    everything = {tuple(row) for row in occupancy_patterns(cloud, OFFSETS).bits.tolist()}
    some = occupancy_patterns(cloud, OFFSETS, 100, seed=(1, 2))
    assert some.num_voxels == 100
    assert {tuple(row) for row in some.bits.tolist()} <= everything
    again = occupancy_patterns(cloud, OFFSETS, 100, seed=(1, 2))
    np.testing.assert_array_equal(some.bits, again.bits)
    other = occupancy_patterns(cloud, OFFSETS, 100, seed=(1, 3))
    assert (some.bits != other.bits).any()
    assert occupancy_patterns(cloud, OFFSETS, 5000).num_voxels == 1200


def test_no_voxels_no_patterns() -> None:
    patterns = occupancy_patterns(grid_of(np.zeros((0, 3))), OFFSETS)
    assert patterns.num_voxels == 0
    assert patterns.shares(REGIONS).shape == (0, len(REGIONS))


def test_patterns_join_over_the_same_offsets_only(cloud: VoxelGrid) -> None:
    a = occupancy_patterns(cloud, OFFSETS, 10, seed=(0,))
    b = occupancy_patterns(cloud, OFFSETS, 20, seed=(1,))
    joined = merge_patterns([a, b])
    np.testing.assert_array_equal(joined.bits, np.concatenate([a.bits, b.bits]))
    with pytest.raises(ValueError, match="same offsets"):
        merge_patterns([a, occupancy_patterns(cloud, OFFSETS[:-1])])
    with pytest.raises(ValueError, match="at least one"):
        merge_patterns([])


def test_a_region_must_lie_within_the_patterns(cloud: VoxelGrid) -> None:
    patterns = occupancy_patterns(cloud, KernelSpec(3).offsets)
    with pytest.raises(ValueError, match=r"26 places are not in these patterns.*offsets of all"):
        patterns.shares(cubes(2))


def test_places_must_be_within_reach_of_a_kernel_map(cloud: VoxelGrid) -> None:
    assert occupancy_patterns(cloud.downsample(4), [(256, 0, 0)]).num_voxels
    with pytest.raises(
        ValueError, match=r"stride 4 a place is 1028 voxels.*away, the limit is 1024"
    ):
        occupancy_patterns(cloud.downsample(4), [(0, 0, 0), (0, -257, 0)])


def test_both_oracles_agree() -> None:
    grid, _ = shapes(np.random.default_rng(0))
    rows = range(0, grid.num_voxels, 37)
    regions = cubes(2, 1, 3)
    np.testing.assert_allclose(
        neighbor_shares(grid, regions)[list(rows)], counted_shares(grid, regions, rows), atol=1e-12
    )
