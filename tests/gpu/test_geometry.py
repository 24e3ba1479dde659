"""Voxels and maps are those of the CPU, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.models import build_model
from pointseg.sparse import KernelMap, KernelSpec, RegionSet, VoxelGrid, cubes
from tests.gpu.place import Place
from tests.ops import scenes

SPECS = (
    KernelSpec(1),
    KernelSpec(3),
    KernelSpec(5),
    KernelSpec(3, 1, 2),
    KernelSpec(2),
    KernelSpec(2, 2),
    KernelSpec(3, 2),
    KernelSpec(4, 3),
    KernelSpec(3, shape="cross"),
)


def arrays(value: object) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a map, by name."""
    assert is_dataclass(value)
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, Tensor):
            yield field.name, content


def assert_same(ours: object, wanted: object) -> None:
    for (name, mine), (other, expected) in zip(arrays(ours), arrays(wanted), strict=True):
        assert name == other
        assert mine.dtype == expected.dtype, name
        assert torch.equal(mine.cpu(), expected), name


def voxels(place: Place) -> Tensor:
    return place.surface(on_gpu=80_000, emulated=300)


def test_voxelize(place: Place) -> None:
    generator = torch.Generator().manual_seed(0)
    size = 200_000 if place.on_gpu else 500
    coords = torch.randint(-40, 40, (size, 4), generator=generator, dtype=torch.int32)
    coords[:, 0] %= 3
    expected = ops.voxelize(coords)
    with place.kernels_in_use():
        assert_same(ops.voxelize(coords.to(place.device)), expected)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downsample(factor: int, place: Place) -> None:
    coords = voxels(place)
    expected = VoxelGrid(coords).downsample(factor)
    with place.kernels_in_use():
        grid = VoxelGrid(coords.to(place.device)).downsample(factor)
        assert torch.equal(grid.coords.cpu(), expected.coords)
        assert torch.equal(grid.sorted_keys.cpu(), expected.sorted_keys)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_kernel_maps_both_ways(spec: KernelSpec, place: Place) -> None:
    coords = voxels(place)

    def maps(coords: Tensor) -> Iterator[object]:
        kmap: KernelMap = VoxelGrid(coords).kernel_map(spec)
        yield from (kmap, kmap.transposed())
        for direction in (kmap, kmap.transposed()):
            yield from direction.row_lists()

    expected = list(maps(coords))
    with place.kernels_in_use():
        actual = list(maps(coords.to(place.device)))
    for ours, wanted in zip(actual, expected, strict=True):
        if isinstance(ours, Tensor):
            assert torch.equal(ours.cpu(), wanted)
        else:
            assert_same(ours, wanted)


def test_region_map(place: Place) -> None:
    coords = voxels(place)
    expected = VoxelGrid(coords).region_map(cubes(2, 1, 3))
    with place.kernels_in_use():
        assert_same(VoxelGrid(coords.to(place.device)).region_map(cubes(2, 1, 3)), expected)


@pytest.mark.parametrize("name", ["minkunet_s", "codedvtr_s"])
def test_a_prepared_grid_has_the_maps_of_one_that_is_not(name: str, place: Place) -> None:
    """All maps of a network built together, against each of them built on the CPU when asked."""
    with torch.device("meta"):
        plan = build_model(name, 3, 20).geometry()
    coords = place.surface(on_gpu=80_000, emulated=80)
    alone = VoxelGrid(coords, num_scenes=2)
    with place.kernels_in_use():
        prepared = VoxelGrid(coords.to(place.device), num_scenes=2).prepare(plan)
        for stride, kernel in plan:
            ours, wanted = prepared.downsample(stride), alone.downsample(stride)
            assert torch.equal(ours.coords.cpu(), wanted.coords)
            if isinstance(kernel, RegionSet):
                assert_same(ours.region_map(kernel), wanted.region_map(kernel))
            else:
                maps = ours.kernel_map(kernel), wanted.kernel_map(kernel)
                assert_same(*maps)
                assert_same(*(kmap.transposed() for kmap in maps))


def test_voxels_twice_are_refused(place: Place) -> None:
    coords = scenes.random_voxels(40, extent=6)
    coords = torch.cat([coords, coords[7:8]]).to(place.device)
    with place.kernels_in_use(), pytest.raises(ValueError, match="1 voxels come more than once"):
        VoxelGrid(coords)
