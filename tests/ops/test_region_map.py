"""Regions, the row lists over them, and the part of a kernel map that a region is."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from pointseg.sparse import KernelSpec, Region, RegionSet, VoxelGrid, cubes
from tests.helpers.properties import given, settings, st
from tests.ops import scenes


@st.composite
def region_sets(draw: st.DrawFn) -> RegionSet:
    regions = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from(["cube", "cross"]))
        spec = KernelSpec(draw(st.sampled_from([1, 3, 5])), 1, draw(st.integers(1, 3)), shape)
        taps = draw(st.sets(st.integers(0, spec.num_taps - 1), min_size=1, max_size=30))
        regions.append(Region(spec, tuple(sorted(taps))))
    return RegionSet(tuple(regions))


def brute_force(coords: Tensor, stride: int, regions: RegionSet) -> set[tuple[int, int, int]]:
    """(voxel, row of the packed weights, neighbour) of every occupied tap."""
    rows = {tuple(voxel): row for row, voxel in enumerate(coords.tolist())}
    found, weight_row = set(), 0
    for region in regions:
        for offset in region.offsets:
            for (batch, *xyz), row in rows.items():
                at = (batch, *(c + stride * o for c, o in zip(xyz, offset, strict=True)))
                if at in rows:
                    found.add((row, weight_row, rows[at]))
            weight_row += 1
    return found


def listed(rmap, weight_rows: Tensor) -> list[tuple[int, int, int]]:
    """(voxel, row of the packed weights by this table, neighbour), in the order of the lists."""
    triples = []
    for voxel in range(rmap.num_voxels):
        for pair in range(rmap.row_starts[voxel], rmap.row_starts[voxel + 1]):
            weight_row = int(weight_rows[rmap.taps[pair]])
            if weight_row >= 0:
                triples.append((voxel, weight_row, int(rmap.neighbors[pair])))
    return triples


@settings(max_examples=60)
@given(scenes.voxel_sets(), region_sets(), st.sampled_from([1, 2]))
def test_lists_hold_exactly_the_occupied_taps(
    coords: Tensor, regions: RegionSet, stride: int
) -> None:
    coords = coords * torch.tensor([1, stride, stride, stride], dtype=torch.int32)
    rmap = VoxelGrid(coords, stride).region_map(regions)
    expected = brute_force(coords, stride, regions)
    forward = listed(rmap, rmap.weight_rows)
    assert set(forward) == expected
    assert len(forward) == len(expected)
    backward = {
        (reader, row, voxel) for voxel, row, reader in listed(rmap, rmap.mirrored_weight_rows)
    }
    assert backward == expected


@settings(max_examples=30)
@given(scenes.voxel_sets(min_voxels=1), region_sets())
def test_shares_are_the_occupied_part_of_each_region(coords: Tensor, regions: RegionSet) -> None:
    grid = VoxelGrid(coords)
    counts = torch.zeros(len(coords), len(regions))
    starts = regions.tap_starts
    for voxel, weight_row, _ in brute_force(coords, 1, regions):
        entry = sum(weight_row >= start for start in starts) - 1
        counts[voxel, entry] += 1
    expected = counts / torch.tensor([float(region.num_taps) for region in regions])
    scenes.assert_close(grid.region_map(regions).shares(), expected, 1e-6)


def test_a_map_is_found_once_and_declared_geometry_is_the_same() -> None:
    coords = scenes.surface_voxels(300, seed=2)
    regions = cubes(1, 2)
    grid = VoxelGrid(coords).prepare(((1, KernelSpec(2, 2)), (2, regions), (2, regions.regions[1])))
    assert grid.downsample(2)._region_maps.keys() == {regions}
    on_demand = VoxelGrid(coords).downsample(2).region_map(regions)
    prepared = grid.downsample(2).region_map(regions)
    assert prepared is grid.downsample(2).region_map(cubes(1, 2))
    assert torch.equal(prepared.taps, on_demand.taps)
    assert torch.equal(prepared.neighbors, on_demand.neighbors)
    assert pickle.loads(pickle.dumps(grid))._region_maps == {}


def test_the_map_of_a_region_is_part_of_the_whole_map_in_both_directions() -> None:
    grid = VoxelGrid(scenes.random_voxels(60, extent=6))
    whole = grid.kernel_map(KernelSpec(3))
    region = Region(KernelSpec(3), (0, 4, 13, 22))
    part = grid.kernel_map(region)
    assert grid.kernel_map(Region(KernelSpec(3))) is whole
    for index, tap in enumerate(region.taps):
        for ours, theirs in zip(part.pairs(index), whole.pairs(tap), strict=True):
            assert torch.equal(ours, theirs)
        in_rows, out_rows = part.pairs(index)
        turned = set(zip(*(rows.tolist() for rows in part.transposed().pairs(index)), strict=True))
        assert turned == set(zip(out_rows.tolist(), in_rows.tolist(), strict=True))
    assert part.transposed().transposed() is part


def test_a_turned_part_outlives_the_part_it_came_from() -> None:
    grid = VoxelGrid(scenes.random_voxels(40, extent=5))
    part = grid.kernel_map(KernelSpec(3)).select((2, 5))
    expected = {
        tap: set(zip(*(r.tolist() for r in part.pairs(tap)), strict=True)) for tap in (0, 1)
    }
    turned = part.transposed()
    del part
    again = turned.transposed()
    for tap in (0, 1):
        assert set(zip(*(r.tolist() for r in again.pairs(tap)), strict=True)) == expected[tap]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((KernelSpec(2),), "stride 1 and an odd size"),
        ((KernelSpec(3, 2),), "stride 1 and an odd size"),
        ((KernelSpec(3), (27,)), "indices 0..26"),
        ((KernelSpec(3), (-1, 2)), "indices 0..26"),
        ((KernelSpec(3), (3, 3)), "ascending"),
        ((KernelSpec(3), (4, 3)), "ascending"),
        ((KernelSpec(3), ()), "at least one tap"),
    ],
)
def test_bad_regions_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Region(*arguments)


def test_an_empty_set_of_regions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one Region"):
        RegionSet(())


@pytest.mark.cpu_kernels
def test_tables_that_point_outside_the_weights_are_refused() -> None:
    rmap = VoxelGrid(scenes.random_voxels(10, extent=4)).region_map(cubes(1))
    arrays = (rmap.row_starts, rmap.taps, rmap.neighbors)
    q, s = torch.randn(10, 1, 2), torch.randn(27, 2)

    def logits(starts, taps, neighbors, rows, ends, scale=s):
        torch.ops.pointseg.codebook_logits(q, scale, starts, taps, neighbors, rows, rows, ends)

    with pytest.raises(RuntimeError, match="weight_rows: tap 26 has row 26 of 26"):
        logits(*arrays, rmap.weight_rows, rmap.entry_ends, s[:26])
    with pytest.raises(RuntimeError, match="entry_ends: expected ascending"):
        logits(*arrays, rmap.weight_rows, rmap.entry_ends + 1)
    with pytest.raises(RuntimeError, match="row_starts: expected 0 to"):
        logits(rmap.row_starts + 1, *arrays[1:], rmap.weight_rows, rmap.entry_ends)


def test_taps_are_selected_in_order() -> None:
    kmap = VoxelGrid(scenes.random_voxels(10, extent=4)).kernel_map(KernelSpec(3))
    with pytest.raises(ValueError, match="ascending"):
        kmap.select((3, 1))
