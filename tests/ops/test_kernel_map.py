"""Grids and kernel maps: which pairs, in which order, owned by which block."""

from __future__ import annotations

import gc
import pickle
import weakref

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.kernel_map import kernel_map_reference
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes

SPECS = (
    KernelSpec(1),
    KernelSpec(2),
    KernelSpec(3),
    KernelSpec(3, 1, 3),
    KernelSpec(5, 1, 1, "cross"),
    KernelSpec(2, 2),
    KernelSpec(3, 2),
    KernelSpec(1, 2),
    KernelSpec(4, 2),
    KernelSpec(3, 3, 2),
    KernelSpec(2, 4),
)


def pairs_of(kmap: KernelMap) -> set[oracle.Pair]:
    found = [
        oracle.Pair(tap, i, o)
        for tap in range(kmap.num_taps)
        for i, o in zip(*(rows.tolist() for rows in kmap.pairs(tap)), strict=True)
    ]
    assert len(set(found)) == len(found) == len(kmap.in_rows)
    return set(found)


def expected_pairs(grid: VoxelGrid, spec: KernelSpec) -> set[oracle.Pair]:
    out = grid if spec.stride == 1 else grid.downsample(spec.stride)
    return oracle.kernel_pairs(
        grid.coords, out.coords, grid.stride, spec.size, spec.dilation, spec.shape
    )


# ------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize("shape", ["cube", "cross"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_taps_come_in_the_order_of_the_weights(size: int, shape: str) -> None:
    if shape == "cross" and size % 2 == 0:
        with pytest.raises(ValueError, match="odd"):
            KernelSpec(size, shape=shape)
        return
    spec = KernelSpec(size, shape=shape)
    assert list(spec.offsets) == oracle.tap_offsets(size, shape)
    assert spec.num_taps == len(spec.offsets)
    if spec.is_symmetric:
        for tap, opposite in enumerate(spec.mirror):
            assert spec.offsets[opposite] == tuple(-v for v in spec.offsets[tap])


def test_specs_are_values() -> None:
    assert KernelSpec(3, 2) == KernelSpec(3, 2, 1, "cube")
    assert len({KernelSpec(3), KernelSpec(3), KernelSpec(3, 2)}) == 2
    with pytest.raises(AttributeError):
        KernelSpec(3).size = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0,), "size"), ((3, 0), "stride"), ((3, 1, 0), "dilation"), ((3, 1, 1, "ball"), "shape")],
)
def test_bad_specs_name_the_argument(arguments: tuple, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        KernelSpec(*arguments)


# --------------------------------------------------------------------------------------- maps


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs(), stride=st.sampled_from([1, 2, 3]))
def test_pairs_match_brute_force(coords: Tensor, spec: KernelSpec, stride: int) -> None:
    coords[:, 1:] *= stride
    grid = VoxelGrid(coords, stride=stride)
    kmap = grid.kernel_map(spec)
    out = grid if spec.stride == 1 else grid.downsample(spec.stride)
    assert (kmap.num_in, kmap.num_out) == (grid.num_voxels, out.num_voxels)
    assert kmap.num_taps == spec.num_taps
    assert pairs_of(kmap) == expected_pairs(grid, spec)


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs())
def test_transposed_swaps_the_pairs_of_every_tap(coords: Tensor, spec: KernelSpec) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    turned = kmap.transposed()
    assert (turned.num_in, turned.num_out) == (kmap.num_out, kmap.num_in)
    assert pairs_of(turned) == {oracle.Pair(k, o, i) for k, i, o in pairs_of(kmap)}
    assert kmap.transposed() is turned
    assert pairs_of(turned.transposed()) == pairs_of(kmap)


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs())
def test_pairs_of_every_tap_are_counted_for_both_directions(
    coords: Tensor, spec: KernelSpec
) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    counts = kmap.transposed().tap_pairs()
    assert counts.tolist() == [len(kmap.pairs(tap)[0]) for tap in range(kmap.num_taps)]
    assert kmap.tap_pairs() is counts
    part = kmap.select(range(0, kmap.num_taps, 2))
    assert part.tap_pairs().tolist() == part.transposed().tap_pairs().tolist()
    assert part.tap_pairs().tolist() == counts[::2].tolist()


@given(coords=scenes.voxel_sets(), size=st.sampled_from([1, 3, 5]), dilation=st.integers(1, 3))
def test_odd_kernels_of_stride_one_are_symmetric(coords: Tensor, size: int, dilation: int) -> None:
    spec = KernelSpec(size, 1, dilation)
    pairs = pairs_of(VoxelGrid(coords).kernel_map(spec))
    assert pairs == {oracle.Pair(spec.mirror[k], o, i) for k, i, o in pairs}


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs(max_size=3))
def test_neighbour_table_holds_the_same_pairs(coords: Tensor, spec: KernelSpec) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    table = kmap.neighbors()
    assert table.dtype == torch.int32
    assert tuple(table.shape) == (kmap.num_out, spec.num_taps)
    found = {
        oracle.Pair(k, int(table[o, k]), o)
        for o in range(kmap.num_out)
        for k in range(spec.num_taps)
        if table[o, k] >= 0
    }
    assert found == pairs_of(kmap)


@given(coords=scenes.voxel_sets(min_voxels=1), spec=scenes.kernel_specs(), seed=st.integers(0, 99))
def test_row_order_only_renames_rows(coords: Tensor, spec: KernelSpec, seed: int) -> None:
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(seed))
    first, second = VoxelGrid(coords), VoxelGrid(coords[order])
    renamed = {
        (k, int(order[i]), int(order[o]) if spec.stride == 1 else o)
        for k, i, o in pairs_of(second.kernel_map(spec))
    }
    assert renamed == set(pairs_of(first.kernel_map(spec)))


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_blocks_own_their_rows(spec: KernelSpec) -> None:
    grid = VoxelGrid(scenes.surface_voxels(9_000, seed=1, num_scenes=2))
    kmap = grid.kernel_map(spec)
    for each in (kmap, kmap.transposed()):
        begin, end = each.segments[..., 0], each.segments[..., 1]
        assert (begin <= end).all()
        assert int((end - begin).sum()) == len(each.in_rows) == len(each.out_rows)
        owner = torch.full((each.num_out,), -1)
        for block in range(len(each.segments)):
            for tap in range(each.num_taps):
                rows = each.out_rows[begin[block, tap] : end[block, tap]].long()
                assert len(rows.unique()) == len(rows)
                assert ((owner[rows] == -1) | (owner[rows] == block)).all()
                owner[rows] = block
        assert each.in_rows.dtype == each.out_rows.dtype == torch.int32
        assert each.segments.dtype == torch.int64
    assert len(kmap.segments) > 1 or kmap.num_out < 2_500


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_large_grid_agrees_with_search_by_key(spec: KernelSpec) -> None:
    """200k voxels over the whole range of coordinates, against torch's own search."""
    coords = torch.unique(
        torch.cat([scenes.surface_voxels(90_000, seed=2), scenes.surface_voxels(90_000, seed=3)]),
        dim=0,
    )
    far = coords[:20_000].clone()
    far[:, 1:] += torch.tensor([60_000, -60_000, 61_000], dtype=torch.int32)
    grid = VoxelGrid(torch.cat([coords, far]))
    out = grid.downsample(spec.stride)
    kmap = grid.kernel_map(spec)
    offsets = torch.tensor(spec.offsets) * spec.dilation
    deltas = offsets[:, 0] * 2**34 + offsets[:, 1] * 2**17 + offsets[:, 2]
    place = kernel_map_reference(grid.sorted_keys, ops.voxel_keys(out.coords), deltas)
    table = torch.where(place >= 0, grid.order.long()[place.clamp(min=0)], -1)
    assert torch.equal(kmap.neighbors().long(), table)


@pytest.mark.cpu_kernels
def test_same_bits_for_any_number_of_threads() -> None:
    coords = scenes.surface_voxels(12_000, seed=5, num_scenes=2)
    results = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        for spec in SPECS:
            kmap = VoxelGrid(coords).kernel_map(spec)
            turned = kmap.transposed()
            results.append([kmap.in_rows, kmap.out_rows, kmap.segments])
            results[-1] += [turned.in_rows, turned.out_rows, turned.segments]
    for position, arrays in enumerate(results):
        for ours, first in zip(arrays, results[position % len(SPECS)], strict=True):
            assert torch.equal(ours, first)


def test_more_taps_in_a_column_than_a_warp_has_lanes() -> None:
    coords = scenes.random_voxels(300, 9)
    line = torch.tensor([[0, 1, 2, z] for z in range(-60, 60)], dtype=torch.int32)
    grid = VoxelGrid(torch.unique(torch.cat([coords, line]), dim=0).flip(0))
    spec = KernelSpec(67, shape="cross")
    offsets = torch.tensor(spec.offsets)
    deltas = offsets[:, 0] * 2**34 + offsets[:, 1] * 2**17 + offsets[:, 2]
    place = kernel_map_reference(grid.sorted_keys, ops.voxel_keys(grid.coords), deltas)
    table = torch.where(place >= 0, grid.order.long()[place.clamp(min=0)], -1)
    assert torch.equal(grid.kernel_map(spec).neighbors().long(), table)


# -------------------------------------------------------------------------------------- grids


@given(coords=scenes.voxel_sets(), stride=st.sampled_from([1, 2]), factor=st.integers(1, 5))
def test_downsample_rounds_toward_minus_infinity(coords: Tensor, stride: int, factor: int) -> None:
    coords[:, 1:] *= stride
    grid = VoxelGrid(coords, stride=stride, num_scenes=3)
    coarse = grid.downsample(factor)
    expected = coords if factor == 1 else oracle.downsample(coords, stride * factor)
    assert torch.equal(coarse.coords, expected)
    assert (coarse.stride, coarse.num_scenes) == (stride * factor, 3)
    assert grid.downsample(factor) is coarse


@given(coords=scenes.voxel_sets())
def test_sorted_keys_and_order(coords: Tensor) -> None:
    grid = VoxelGrid(coords)
    assert grid.sorted_keys.dtype == torch.int64
    assert grid.order.dtype == torch.int32
    assert (grid.sorted_keys[1:] > grid.sorted_keys[:-1]).all()
    assert oracle.as_list(coords[grid.order.long()]) == sorted(oracle.as_list(coords))
    assert torch.equal(ops.voxel_keys(coords)[grid.order.long()], grid.sorted_keys)


def test_maps_and_grids_are_found_once() -> None:
    grid = VoxelGrid(scenes.random_voxels(50, 6, 2))
    assert grid.kernel_map(KernelSpec(3)) is grid.kernel_map(KernelSpec(3))
    assert grid.downsample(2) is grid.downsample(2)


def test_prepared_maps_are_those_found_on_demand() -> None:
    coords = scenes.surface_voxels(5_000, seed=6, num_scenes=2)
    plan = (
        (1, KernelSpec(5)),
        (1, KernelSpec(2, 2)),
        (2, KernelSpec(3)),
        (2, KernelSpec(3, 2)),
        (4, KernelSpec(3, 1, 2, "cross")),
    )
    prepared = VoxelGrid(coords)
    assert prepared.prepare(plan) is prepared
    on_demand = VoxelGrid(coords)
    for stride, spec in plan:
        left, right = prepared, on_demand
        for _ in range(stride.bit_length() - 1):
            left, right = left.downsample(2), right.downsample(2)
        assert torch.equal(left.coords, right.coords)
        ours, theirs = left.kernel_map(spec), right.kernel_map(spec)
        for name in ("in_rows", "out_rows", "segments"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
            turned = getattr(ours.transposed(), name), getattr(theirs.transposed(), name)
            assert torch.equal(*turned)


def test_plan_that_skips_a_stride_is_refused() -> None:
    grid = VoxelGrid(scenes.random_voxels(20, 4))
    with pytest.raises(ValueError, match=r"plan.*stride 4"):
        grid.prepare(((1, KernelSpec(2, 2)), (4, KernelSpec(3))))


def test_grid_is_a_value() -> None:
    grid = VoxelGrid(scenes.random_voxels(20, 4))
    with pytest.raises(AttributeError):
        grid.coords = grid.coords.clone()  # type: ignore[misc]
    grid.prepare(((1, KernelSpec(3)), (1, KernelSpec(2, 2))))
    again = pickle.loads(pickle.dumps(grid))
    assert torch.equal(again.coords, grid.coords)
    assert torch.equal(again.sorted_keys, grid.sorted_keys)
    bare = VoxelGrid(grid.coords)
    assert len(pickle.dumps(grid)) <= len(pickle.dumps(bare)) + 64


def test_number_of_scenes() -> None:
    coords = torch.tensor([[0, 1, 2, 3], [2, 1, 2, 3]], dtype=torch.int32)
    assert VoxelGrid(coords).num_scenes == 3
    assert VoxelGrid(coords, num_scenes=5).num_scenes == 5
    assert VoxelGrid(coords[:0]).num_scenes == 0


# ------------------------------------------------------------------------------------- errors


def test_duplicates_are_refused_with_the_voxel_and_the_remedy() -> None:
    coords = torch.tensor([[0, 1, 2, 3], [0, 4, 5, 6], [0, 1, 2, 3]], dtype=torch.int32)
    with pytest.raises(ValueError, match=r"coords.*more than once.*\(0, 1, 2, 3\).*voxelize"):
        VoxelGrid(coords)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32], ids=str)
def test_wrong_dtype_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=r"coords.*int32"):
        VoxelGrid(torch.zeros(3, 4, dtype=dtype))


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 5), (1, 3, 4)], ids=str)
def test_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"coords.*\[N, 4\]"):
        VoxelGrid(torch.zeros(shape, dtype=torch.int32))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("value", [65_536, -65_536, 2**31 - 1, -(2**31)])
def test_coordinates_beyond_the_range_name_axis_and_value(axis: int, value: int) -> None:
    coords = torch.zeros(2, 4, dtype=torch.int32)
    coords[1, axis] = value
    with pytest.raises(ValueError, match=f"{' xyz'[axis]} = {value}.*voxel size"):
        VoxelGrid(coords)


@pytest.mark.parametrize("batch", [-1, 4096, 2**31 - 1])
def test_batch_beyond_the_range_is_refused(batch: int) -> None:
    coords = torch.zeros(2, 4, dtype=torch.int32)
    coords[1, 0] = batch
    with pytest.raises(ValueError, match=f"batch.*{batch}"):
        VoxelGrid(coords)


def test_coordinates_off_the_stride_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of the stride 2"):
        VoxelGrid(torch.tensor([[0, 2, 4, 5]], dtype=torch.int32), stride=2)


@pytest.mark.parametrize("stride", [0, -1, 5000])
def test_bad_stride_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match="stride"):
        VoxelGrid(torch.zeros(1, 4, dtype=torch.int32), stride=stride)


def test_number_of_scenes_below_the_batch_index_is_refused() -> None:
    coords = torch.tensor([[2, 1, 2, 3]], dtype=torch.int32)
    with pytest.raises(ValueError, match="num_scenes"):
        VoxelGrid(coords, num_scenes=2)


def test_kernel_that_reaches_too_far_is_refused() -> None:
    grid = VoxelGrid(torch.zeros(1, 4, dtype=torch.int32))
    with pytest.raises((ValueError, RuntimeError), match="reach"):
        grid.kernel_map(KernelSpec(3, 1, 5000))


def test_maps_are_freed_with_their_grid_without_the_cycle_collector() -> None:
    grid = VoxelGrid(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.int32))
    kmap = grid.kernel_map(KernelSpec(2, 2))
    assert kmap.transposed().transposed() is kmap
    watched = weakref.ref(kmap), weakref.ref(kmap.transposed())
    gc.disable()
    try:
        del grid, kmap
        assert [watch() for watch in watched] == [None, None]
    finally:
        gc.enable()


@pytest.mark.cpu_kernels
def test_rows_out_of_range_are_refused() -> None:
    """On a GPU nobody looks: what a map says is trusted."""
    grid = VoxelGrid(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.int32))
    kmap = grid.kernel_map(KernelSpec(3))
    with pytest.raises(RuntimeError, match="in_rows: row 1 of pair"):
        ops.swap_kernel_map(kmap.in_rows, kmap.out_rows, kmap.segments, 1)


def test_bad_arguments_are_refused() -> None:
    keys = VoxelGrid(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.int32)).sorted_keys
    offsets = torch.zeros(1, 3, dtype=torch.int32)
    with pytest.raises(RuntimeError, match="in_order: expected 2 rows"):
        ops.kernel_map(keys, keys, offsets, in_order=torch.zeros(1, dtype=torch.int32))
    with pytest.raises(RuntimeError, match="offsets: tap 1 repeats another"):
        ops.kernel_map(keys, keys, torch.zeros(2, 3, dtype=torch.int32))
    with pytest.raises(RuntimeError, match="offsets: expected x, y, z of at least one tap"):
        ops.kernel_map(keys, keys, offsets[:0])


@given(scenes.voxel_sets(), st.sampled_from([1, 3, 5]), st.integers(1, 3), st.booleans())
def test_half_a_symmetric_kernel_gives_the_other(
    coords: Tensor, size: int, dilation: int, cross: bool
) -> None:
    """On one grid half of the taps are searched; of a copy of its keys nobody knows that."""
    many = torch.cat([coords + torch.tensor([0, 40 * shift, 0, 0]) for shift in range(60)]).int()
    keys = VoxelGrid(many).sorted_keys
    spec = KernelSpec(size, dilation=dilation, shape="cross" if cross else "cube")
    offsets = torch.tensor(spec.offsets, dtype=torch.int32) * dilation
    mirrored = ops.kernel_map(keys, keys, offsets)
    for ours, theirs in zip(mirrored, ops.kernel_map(keys, keys.clone(), offsets), strict=True):
        assert torch.equal(ours, theirs)
