"""Gathered neighbours against brute force, and their contract."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes
from tests.ops.large import map_of_far_rows, near_rows, untouched_zeros


@given(
    coords=scenes.voxel_sets(),
    spec=scenes.kernel_specs(max_size=4),
    in_stride=st.sampled_from([1, 2]),
)
def test_matches_brute_force_and_its_gradients(
    coords: Tensor, spec: KernelSpec, in_stride: int
) -> None:
    coords[:, 1:] *= in_stride
    grid = VoxelGrid(coords, stride=in_stride)
    out_coords = grid.downsample(spec.stride).coords
    feats = scenes.randn(len(coords), 3, seed=1).requires_grad_()
    out = ops.gather_neighbors(feats, grid.kernel_map(spec))
    pairs = oracle.kernel_pairs(coords, out_coords, in_stride, spec.size, spec.dilation, spec.shape)
    expected = oracle.gather(feats, pairs, len(out_coords), spec.num_taps)
    assert torch.equal(out, expected)
    if not expected.requires_grad:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    (ours,) = torch.autograd.grad(out, feats, grad_out)
    (theirs,) = torch.autograd.grad(expected, feats, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str
)
def test_copies_without_rounding(dtype: torch.dtype) -> None:
    kmap = VoxelGrid(scenes.surface_voxels(300)).kernel_map(KernelSpec(3))
    feats = scenes.randn(kmap.num_in, 3, dtype=dtype)
    out = ops.gather_neighbors(feats, kmap)
    table = kmap.neighbors().long()
    assert out.dtype == dtype
    assert torch.equal(out, feats[table.clamp(min=0)] * (table >= 0)[..., None])


@given(coords=scenes.voxel_sets(min_voxels=1), spec=scenes.kernel_specs(max_size=3))
def test_convolution_is_gathering_and_one_product(coords: Tensor, spec: KernelSpec) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    feats, weight = scenes.randn(len(coords), 3, seed=1), scenes.randn(spec.num_taps, 3, 4, seed=2)
    gathered = torch.einsum("nkc,kcd->nd", ops.gather_neighbors(feats, kmap), weight)
    scenes.assert_close(ops.sparse_conv(feats, weight, kmap), gathered, 1e-12)


def test_addresses_beyond_two_to_the_31() -> None:
    kmap, far = map_of_far_rows(rows=70_000_000, num_taps=2)
    feats = untouched_zeros(kmap.num_in, 32)
    feats[far] = scenes.randn(len(far), 32, seed=1, dtype=torch.float32)
    expected = ops.gather_neighbors(feats[far], near_rows(kmap))
    assert torch.equal(ops.gather_neighbors(feats, kmap), expected)


@pytest.mark.parametrize(
    "feats", [torch.zeros(9, 3), torch.zeros(10), torch.zeros(10, 3, dtype=torch.int32)]
)
def test_bad_arguments_are_named(feats: Tensor) -> None:
    kmap = VoxelGrid(scenes.random_voxels(10, 4)).kernel_map(KernelSpec(3))
    with pytest.raises((ValueError, TypeError), match="^feats"):
        ops.gather_neighbors(feats, kmap)
