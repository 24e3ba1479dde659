"""Everything that a network asks of a grid, found at once: what is found on demand, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from pointseg.models import build_model
from pointseg.sparse import GeometryPlan, KernelSpec, Region, RegionSet, VoxelGrid, cubes
from tests.helpers.kernels import run_with
from tests.helpers.properties import given, settings, st
from tests.ops import scenes

CROSS = KernelSpec(5, 1, 2, "cross")
MIXED: GeometryPlan = (
    (1, KernelSpec(3)),
    (1, Region(KernelSpec(3), (0, 4, 13, 22))),
    (1, KernelSpec(2)),
    (1, KernelSpec(2, 2)),
    (1, KernelSpec(3, 2)),
    (1, KernelSpec(4, 4)),
    (2, RegionSet((Region(KernelSpec(3), (0, 1, 13)), Region(CROSS)))),
    (2, KernelSpec(3, 3, 2)),
    (6, KernelSpec(5, dilation=3)),
)


THIN = {"depths": [1, 1, 1, 1, 1, 1], "widths": [4, 4, 4, 4, 4, 4], "stem_width": 4}
MODELS = {
    "minkunet": {},
    "codedvtr": {"blocks": ["basic", *["codebook"] * 4, "basic"], "codebook": {"heads": 4}},
}


def plan_of(name: str) -> GeometryPlan:
    if name == "mixed":
        return MIXED
    return build_model(name, 3, 5, **THIN, **MODELS[name]).geometry()


def follow(grid: VoxelGrid, plan: GeometryPlan) -> Iterator[Tensor]:
    """Every array that the entries of a plan lead to."""
    grids = {1: grid}
    for stride, kernel in sorted(plan, key=lambda entry: entry[0]):
        at = grids[stride]
        yield from (at.coords, at.sorted_keys, at.order)
        if isinstance(kernel, RegionSet):
            rmap = at.region_map(kernel)
            yield from (rmap.row_starts, rmap.taps, rmap.neighbors, rmap.entry_ends)
            yield from (rmap.weight_rows, rmap.mirrored_weight_rows)
            continue
        kmap = at.kernel_map(kernel)
        for turned in (kmap, kmap.transposed()):
            yield from (turned.in_rows, turned.out_rows, turned.segments, turned.tap_pairs())
            yield from turned.row_lists()
        if isinstance(kernel, KernelSpec) and kernel.stride > 1:
            grids.setdefault(stride * kernel.stride, at.downsample(kernel.stride))
            yield at._parents[kernel.stride].parents


def assert_same(grid: VoxelGrid, plan: GeometryPlan) -> None:
    """What the grid holds is what the CPU kernels find on demand on a grid of their own."""
    found = list(follow(grid, plan))
    with _disable_current_modes():
        expected = list(follow(VoxelGrid(grid.coords, grid.stride), plan))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("in_order", [False, True], ids=["shuffled", "sorted"])
@pytest.mark.parametrize("name", [*MODELS, "mixed"])
def test_prepared_geometry_is_that_of_the_cpu_on_demand(name: str, in_order: bool) -> None:
    coords = scenes.surface_voxels(2_600, seed=3, num_scenes=2)
    grid = VoxelGrid(coords)
    if in_order:
        grid = VoxelGrid(coords[grid.order.long()])
        assert grid._order is None
    plan = plan_of(name)
    assert grid.prepare(plan) is grid
    assert_same(grid, plan)


@settings(max_examples=10)
@given(scenes.voxel_sets(), st.sampled_from([1, 2]))
def test_small_grids_of_any_stride(coords: Tensor, stride: int) -> None:
    coords = coords * torch.tensor([1, stride, stride, stride], dtype=torch.int32)
    assert_same(VoxelGrid(coords, stride).prepare(MIXED), MIXED)


def test_found_on_demand_is_what_the_cpu_finds() -> None:
    assert_same(VoxelGrid(scenes.surface_voxels(2_600, seed=4, num_scenes=2)), MIXED)


def test_what_is_there_stays() -> None:
    coords = scenes.surface_voxels(300, seed=5)
    grid = VoxelGrid(coords)
    coarse, kmap = grid.downsample(2), grid.kernel_map(KernelSpec(3))
    grid.prepare(MIXED)
    assert grid.downsample(2) is coarse
    assert grid.kernel_map(KernelSpec(3)) is kmap
    strided = grid.kernel_map(KernelSpec(2, 2))
    grid.prepare(MIXED)
    assert grid.kernel_map(KernelSpec(2, 2)) is strided
    assert_same(grid, MIXED)


def test_same_bits_whatever_the_order_of_threads(
    kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU runs threads and blocks in any order; emulated ones run forward, then backward."""
    coords = scenes.surface_voxels(1_500, seed=6, num_scenes=2)
    results = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
        results.append(list(follow(VoxelGrid(coords).prepare(MIXED), MIXED)))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@pytest.mark.cpu_kernels
@pytest.mark.parametrize("name", [*MODELS, "mixed"])
def test_a_prepared_grid_has_waited_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the CUDA kernels, whose read-backs the emulation counts."""
    plan = plan_of(name)
    with run_with("emulated", monkeypatch):
        grid = VoxelGrid(scenes.surface_voxels(300, seed=7))
        read_backs = torch.ops.pointseg_emulated.num_read_backs
        before = read_backs()
        grid.prepare(plan)
        assert read_backs() == before + 1
        for _ in follow(grid, plan):
            pass
        grid.prepare(plan)
        assert read_backs() == before + 1
        VoxelGrid(grid.coords).kernel_map(KernelSpec(3))
        assert read_backs() == before + 3  # of the keys, and of the pairs


class _Reads(TorchDispatchMode):
    """Calls that a GPU would have to be waited for: values that the host asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.name().removeprefix("aten::")
        if name.split(".")[0] in ("_local_scalar_dense", "equal", "nonzero", "_unique2"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.cpu_kernels
def test_python_asks_no_tensor_for_values(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ((1, cubes(1, 2)), (1, KernelSpec(3)), (1, KernelSpec(2, 2)), (2, KernelSpec(3, 2)))
    with run_with("emulated", monkeypatch):
        coords = scenes.surface_voxels(300, seed=8)
        with _Reads() as reads:
            grid = VoxelGrid(coords)
        assert reads.found
        with _Reads() as reads:
            for _ in follow(grid.prepare(plan), plan):
                pass
        assert reads.found == []
