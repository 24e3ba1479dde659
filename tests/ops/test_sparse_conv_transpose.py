"""Transposed convolution against dense `conv_transpose3d`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes


@given(
    coords=scenes.voxel_sets(),
    spec=scenes.kernel_specs(),
    fine_stride=st.sampled_from([1, 2]),
    with_bias=st.booleans(),
)
def test_matches_dense_convolution_and_its_gradients(
    coords: Tensor, spec: KernelSpec, fine_stride: int, with_bias: bool
) -> None:
    coords[:, 1:] *= fine_stride
    fine = VoxelGrid(coords, stride=fine_stride)
    coarse = fine.downsample(spec.stride)
    feats = scenes.randn(coarse.num_voxels, 2, seed=1).requires_grad_()
    weight = scenes.randn(spec.num_taps, 2, 3, seed=2).requires_grad_()
    bias = scenes.randn(3, seed=3).requires_grad_() if with_bias else None
    leaves = [feats, weight] if bias is None else [feats, weight, bias]

    out = ops.sparse_conv_transpose(feats, weight, fine.kernel_map(spec), bias)
    settings = (fine_stride, spec.size, spec.stride, spec.dilation, spec.shape)
    expected = oracle.conv_transpose(feats, weight, coarse.coords, coords, *settings)
    expected = expected if bias is None else expected + bias
    scenes.assert_close(out, expected, 1e-12)

    if len(coords) == 0:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    ours = torch.autograd.grad(out, leaves, grad_out)
    theirs = torch.autograd.grad(expected, leaves, grad_out)
    for actual, wanted in zip(ours, theirs, strict=True):
        scenes.assert_close(actual, wanted, 1e-12)


@given(coords=scenes.voxel_sets(min_voxels=1), spec=scenes.kernel_specs())
def test_is_the_adjoint_of_the_strided_convolution(coords: Tensor, spec: KernelSpec) -> None:
    """<Y, A X> = <A^T Y, X>: the transposed op with transposed weights is A^T."""
    kmap = VoxelGrid(coords).kernel_map(spec)
    weight = scenes.randn(spec.num_taps, 2, 3, seed=1)
    x = scenes.randn(kmap.num_in, 2, seed=2)
    y = scenes.randn(kmap.num_out, 3, seed=3)
    forward = (y * ops.sparse_conv(x, weight, kmap)).sum()
    backward = (x * ops.sparse_conv_transpose(y, weight.transpose(1, 2), kmap)).sum()
    scenes.assert_close(backward, forward, 1e-10)


def test_rows_are_those_of_the_coarse_grid() -> None:
    kmap = VoxelGrid(scenes.random_voxels(40, 5)).kernel_map(KernelSpec(2, 2))
    assert kmap.num_out < kmap.num_in
    with pytest.raises(ValueError, match=f"^feats.*{kmap.num_out} rows"):
        ops.sparse_conv_transpose(torch.zeros(kmap.num_in, 3), torch.zeros(8, 3, 4), kmap)


def test_bad_weights_are_named() -> None:
    kmap = VoxelGrid(scenes.random_voxels(40, 5)).kernel_map(KernelSpec(2, 2))
    with pytest.raises(ValueError, match="^weight"):
        ops.sparse_conv_transpose(torch.zeros(kmap.num_out, 3), torch.zeros(27, 3, 4), kmap)
