"""The oracle against itself: dense convolutions and brute-force pair lists must agree."""

from __future__ import annotations

import torch

from pointseg.sparse import KernelSpec
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes


def from_pairs(
    feats: torch.Tensor, weight: torch.Tensor, pairs: set[oracle.Pair], num_out: int
) -> torch.Tensor:
    out = feats.new_zeros(num_out, weight.shape[2])
    for tap, in_row, out_row in pairs:
        out[out_row] += feats[in_row] @ weight[tap]
    return out


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs(), in_stride=st.sampled_from([1, 2]))
def test_dense_convolution_agrees_with_pairs(
    coords: torch.Tensor, spec: KernelSpec, in_stride: int
) -> None:
    coords[:, 1:] *= in_stride
    out_coords = oracle.downsample(coords, in_stride * spec.stride)
    pairs = oracle.kernel_pairs(coords, out_coords, in_stride, spec.size, spec.dilation, spec.shape)
    feats = scenes.randn(len(coords), 2, seed=1)
    weight = scenes.randn(spec.num_taps, 2, 3, seed=2)
    settings = (in_stride, spec.size, spec.stride, spec.dilation, spec.shape)
    dense = oracle.conv(feats, weight, coords, out_coords, *settings)
    scenes.assert_close(dense, from_pairs(feats, weight, pairs, len(out_coords)), 1e-12)
    turned = {oracle.Pair(tap, out_row, in_row) for tap, in_row, out_row in pairs}
    coarse = scenes.randn(len(out_coords), 2, seed=3)
    dense = oracle.conv_transpose(coarse, weight, out_coords, coords, *settings)
    scenes.assert_close(dense, from_pairs(coarse, weight, turned, len(coords)), 1e-12)
