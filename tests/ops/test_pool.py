"""Pooling against brute force, and its contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes
from tests.ops.large import map_of_far_rows, near_rows, untouched_zeros

reductions = st.sampled_from(["max", "avg", "sum"])
BRUTE_FORCE = {"max": "max", "avg": "mean", "sum": "sum"}


@given(
    coords=scenes.voxel_sets(),
    spec=scenes.kernel_specs(),
    in_stride=st.sampled_from([1, 2]),
    reduce=reductions,
    ties=st.booleans(),
)
def test_matches_brute_force_and_its_gradients(
    coords: Tensor, spec: KernelSpec, in_stride: int, reduce: str, ties: bool
) -> None:
    """With few distinct values there are ties: value and gradient go to the lowest tap."""
    coords[:, 1:] *= in_stride
    grid = VoxelGrid(coords, stride=in_stride)
    out_coords = grid.downsample(spec.stride).coords
    feats = scenes.randn(len(coords), 3, seed=1)
    feats = (feats.round() if ties else feats).requires_grad_()
    out = ops.pool(feats, grid.kernel_map(spec), reduce)
    pairs = oracle.kernel_pairs(coords, out_coords, in_stride, spec.size, spec.dilation, spec.shape)
    expected = oracle.pool(feats, pairs, len(out_coords), BRUTE_FORCE[reduce])
    scenes.assert_close(out, expected, 1e-12)
    if not expected.requires_grad:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    (ours,) = torch.autograd.grad(out, feats, grad_out)
    (theirs,) = torch.autograd.grad(expected, feats, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


def map_without_pairs(num_in: int, num_out: int) -> KernelMap:
    rows = torch.zeros(0, dtype=torch.int32)
    segments = torch.zeros(1, 8, 2, dtype=torch.int64)
    return KernelMap(KernelSpec(2, 2), num_in, num_out, rows, rows, segments)


@pytest.mark.parametrize("reduce", ["max", "avg", "sum"])
def test_voxels_without_neighbours_are_zero_and_pass_no_gradient(reduce: str) -> None:
    feats = torch.full((4, 3), -5.0, requires_grad=True)
    out = ops.pool(feats, map_without_pairs(4, 6), reduce)
    assert torch.equal(out, torch.zeros(6, 3))
    out.sum().backward()
    assert feats.grad is not None
    assert torch.equal(feats.grad, torch.zeros(4, 3))


def test_max_of_negative_values_is_negative() -> None:
    """The zero of an absent voxel takes no part."""
    kmap = VoxelGrid(scenes.random_voxels(30, 4)).kernel_map(KernelSpec(3))
    feats = -scenes.randn(30, 2, seed=1).abs() - 1
    assert (ops.pool(feats, kmap, "max") < 0).all()


def test_max_of_minus_infinity_stays() -> None:
    kmap = VoxelGrid(torch.zeros(1, 4, dtype=torch.int32)).kernel_map(KernelSpec(3))
    feats = torch.full((1, 2), -math.inf, requires_grad=True)
    out = ops.pool(feats, kmap, "max")
    assert torch.equal(out, feats)
    out.backward(torch.ones_like(out))
    assert feats.grad is not None
    assert torch.equal(feats.grad, torch.ones(1, 2))


def test_nan_wins() -> None:
    coords = torch.tensor([[0, x, 0, 0] for x in range(4)], dtype=torch.int32)
    feats = torch.tensor([[1.0], [math.nan], [3.0], [4.0]])
    out = ops.pool(feats, VoxelGrid(coords).kernel_map(KernelSpec(3)), "max")
    assert out.isnan()[:, 0].tolist() == [True, True, True, False]


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs(max_size=3))
def test_average_is_sum_over_voxels_present(coords: Tensor, spec: KernelSpec) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    feats = scenes.randn(len(coords), 3, seed=1)
    present = (kmap.neighbors() >= 0).sum(dim=1, keepdim=True)
    expected = ops.pool(feats, kmap, "sum") / present.clamp(min=1)
    scenes.assert_close(ops.pool(feats, kmap, "avg"), expected, 1e-12)


@pytest.mark.parametrize("reduce", ["max", "avg", "sum"])
@pytest.mark.parametrize("spec", [KernelSpec(3), KernelSpec(2, 2)], ids=str)
def test_equivariant_to_the_order_of_voxels(reduce: str, spec: KernelSpec) -> None:
    coords = scenes.surface_voxels(400, seed=2, num_scenes=2)
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))
    feats = scenes.randn(len(coords), 3, seed=1)
    first = ops.pool(feats, VoxelGrid(coords).kernel_map(spec), reduce)
    second = ops.pool(feats[order], VoxelGrid(coords[order]).kernel_map(spec), reduce)
    scenes.assert_close(second, first[order] if spec.stride == 1 else first, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reduce", ["max", "avg", "sum"])
def test_largest_error_over_200k_voxels(reduce: str, dtype: torch.dtype) -> None:
    kmap = VoxelGrid(scenes.surface_voxels(200_000, seed=7)).kernel_map(KernelSpec(5, 2))
    feats = (scenes.randn(kmap.num_in, 3, seed=1) + 2).to(dtype).requires_grad_()
    exact = feats.detach().double().requires_grad_()
    out, expected = ops.pool(feats, kmap, reduce), ops.pool(exact, kmap, reduce)
    scenes.assert_close(out, expected, scenes.TOLERANCE[dtype])
    grad_out = scenes.randn(*out.shape, seed=3).to(dtype)
    (ours,) = torch.autograd.grad(out, feats, grad_out)
    (wanted,) = torch.autograd.grad(expected, exact, grad_out.double())
    scenes.assert_close(ours, wanted, scenes.TOLERANCE[dtype])


@pytest.mark.parametrize("reduce", ["max", "avg", "sum"])
def test_addresses_beyond_two_to_the_31(reduce: str) -> None:
    kmap, far = map_of_far_rows(rows=70_000_000, num_taps=2)
    feats = untouched_zeros(kmap.num_in, 32)
    feats[far] = scenes.randn(len(far), 32, seed=1, dtype=torch.float32)
    assert torch.equal(ops.pool(feats, kmap, reduce), ops.pool(feats[far], near_rows(kmap), reduce))


# ------------------------------------------------------------------------------------- global


@given(coords=scenes.voxel_sets(), reduce=reductions, spare=st.integers(0, 2))
def test_global_pool_matches_brute_force(coords: Tensor, reduce: str, spare: int) -> None:
    """Scenes without voxels, in the middle or at the end, are zero."""
    grid = VoxelGrid(coords, num_scenes=3 + spare)
    feats = scenes.randn(len(coords), 3, seed=1).requires_grad_()
    out = ops.global_pool(feats, grid, reduce)
    expected = oracle.segment(feats, coords[:, 0].tolist(), 3 + spare, BRUTE_FORCE[reduce])
    scenes.assert_close(out, expected, 1e-12)
    if not expected.requires_grad:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    (ours,) = torch.autograd.grad(out, feats, grad_out)
    (theirs,) = torch.autograd.grad(expected, feats, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reduce", ["max", "avg"])
def test_largest_error_of_a_whole_scene(reduce: str, dtype: torch.dtype) -> None:
    """One row out of 200k: a plain running sum would drift."""
    grid = VoxelGrid(scenes.surface_voxels(200_000, seed=7))
    feats = (scenes.randn(grid.num_voxels, 3, seed=1) + 2).to(dtype)
    expected = ops.global_pool(feats.double(), grid, reduce)
    tolerance = max(scenes.TOLERANCE[dtype], 1e-6)
    scenes.assert_close(ops.global_pool(feats, grid, reduce), expected, tolerance)


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("feats", "reduce", "match"),
    [
        (torch.zeros(9, 3), "max", "feats"),
        (torch.zeros(10), "max", "feats"),
        (torch.zeros(10, 3, dtype=torch.int64), "sum", "feats"),
        (torch.zeros(10, 3), "mean", "reduce.*'avg'.*'mean'"),
    ],
)
def test_bad_arguments_are_named(feats: Tensor, reduce: str, match: str) -> None:
    grid = VoxelGrid(scenes.random_voxels(10, 4))
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.pool(feats, grid.kernel_map(KernelSpec(3)), reduce)
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.global_pool(feats, grid, reduce)
