"""Depthwise convolution against dense grouped `conv3d`, and its contract."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes
from tests.ops.large import in_double, map_of_far_rows, near_rows, untouched_zeros


@given(
    coords=scenes.voxel_sets(),
    spec=scenes.kernel_specs(),
    in_stride=st.sampled_from([1, 2]),
    channels=st.sampled_from([1, 3, 70]),
)
def test_matches_dense_convolution_and_its_gradients(
    coords: Tensor, spec: KernelSpec, in_stride: int, channels: int
) -> None:
    coords[:, 1:] *= in_stride
    grid = VoxelGrid(coords, stride=in_stride)
    out_coords = grid.downsample(spec.stride).coords
    feats = scenes.randn(len(coords), channels, seed=1).requires_grad_()
    weight = scenes.randn(spec.num_taps, channels, seed=2).requires_grad_()
    out = ops.depthwise_conv(feats, weight, grid.kernel_map(spec))
    settings = (in_stride, spec.size, spec.stride, spec.dilation, spec.shape)
    expected = oracle.depthwise(feats, weight, coords, out_coords, *settings)
    scenes.assert_close(out, expected, 1e-12)
    if len(coords) == 0:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    ours = torch.autograd.grad(out, [feats, weight], grad_out)
    theirs = torch.autograd.grad(expected, [feats, weight], grad_out)
    for actual, wanted in zip(ours, theirs, strict=True):
        scenes.assert_close(actual, wanted, 1e-12)


@given(coords=scenes.voxel_sets(min_voxels=1), spec=scenes.kernel_specs())
def test_adjoint(coords: Tensor, spec: KernelSpec) -> None:
    """<Y, A X> = <A^T Y, X>, in the features and in the weights."""
    kmap = VoxelGrid(coords).kernel_map(spec)
    feats = scenes.randn(kmap.num_in, 3, seed=1).requires_grad_()
    weight = scenes.randn(spec.num_taps, 3, seed=2).requires_grad_()
    out = ops.depthwise_conv(feats, weight, kmap)
    grad_out = scenes.randn(*out.shape, seed=3)
    grad_feats, grad_weight = torch.autograd.grad(out, [feats, weight], grad_out)
    inner = (grad_out * out).sum()
    scenes.assert_close((grad_feats * feats).sum(), inner, 1e-10)
    scenes.assert_close((grad_weight * weight).sum(), inner, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_largest_error_over_200k_voxels(dtype: torch.dtype) -> None:
    kmap = VoxelGrid(scenes.surface_voxels(200_000, seed=7)).kernel_map(KernelSpec(3))
    feats = (scenes.randn(kmap.num_in, 5, seed=1) + 0.5).to(dtype).requires_grad_()
    weight = scenes.randn(27, 5, seed=2).to(dtype).requires_grad_()
    out = ops.depthwise_conv(feats, weight, kmap)
    grad_out = (scenes.randn(*out.shape, seed=3).abs() * 0.1).to(dtype)
    actual = [out, *torch.autograd.grad(out, [feats, weight], grad_out)]
    expected = in_double(feats, weight, kmap, grad_out)
    tolerance = max(scenes.TOLERANCE[dtype], 2e-5)
    for ours, wanted in zip(actual, expected, strict=True):
        assert torch.isfinite(ours).all()
        scenes.assert_close(ours, wanted, tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_keeps_the_gradient_of_the_weights_in_float32(dtype: torch.dtype) -> None:
    kmap = VoxelGrid(scenes.surface_voxels(40_000, seed=7)).kernel_map(KernelSpec(3))
    feats = torch.full((kmap.num_in, 2), 4.0)
    weight = scenes.randn(27, 2, seed=2, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        out = ops.depthwise_conv(feats, weight, kmap)
    assert out.dtype == dtype
    out.backward(torch.full_like(out, 4.0))
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    pairs = torch.tensor([len(kmap.pairs(tap)[0]) for tap in range(27)])
    wanted = (16.0 * pairs)[:, None].expand(27, 2)
    assert wanted.max() > 65_504
    scenes.assert_close(weight.grad, wanted, 1e-5)


def test_addresses_beyond_two_to_the_31() -> None:
    kmap, far = map_of_far_rows(rows=70_000_000, num_taps=2)
    feats = untouched_zeros(kmap.num_in, 32)
    feats[far] = scenes.randn(len(far), 32, seed=1, dtype=torch.float32)
    weight = scenes.randn(2, 32, seed=2, dtype=torch.float32).requires_grad_()
    out = ops.depthwise_conv(feats, weight, kmap)
    expected = ops.depthwise_conv(feats[far], weight, near_rows(kmap))
    assert torch.equal(out, expected)
    grad_out = scenes.randn(*out.shape, seed=3, dtype=torch.float32)
    (ours,) = torch.autograd.grad(out, weight, grad_out)
    (wanted,) = torch.autograd.grad(expected, weight, grad_out)
    assert torch.equal(ours, wanted)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"feats": torch.zeros(9, 3)}, "feats"),
        ({"feats": torch.zeros(10)}, "feats"),
        ({"feats": torch.zeros(10, 3, dtype=torch.int32)}, "feats"),
        ({"weight": torch.zeros(26, 3)}, "weight"),
        ({"weight": torch.zeros(27, 2)}, "weight"),
        ({"weight": torch.zeros(27, 3, 1)}, "weight"),
        ({"weight": torch.zeros(27, 3, dtype=torch.float64)}, "weight"),
        ({"weight": torch.zeros(27, 3, device="meta")}, "weight"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Tensor], match: str) -> None:
    kmap = VoxelGrid(scenes.random_voxels(10, 4)).kernel_map(KernelSpec(3))
    arguments = {"feats": torch.zeros(10, 3), "weight": torch.zeros(27, 3), **change}
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.depthwise_conv(kmap=kmap, **arguments)
