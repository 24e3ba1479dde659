"""Every differentiable op as a case that sweeps run over: a function of tensors, and its inputs.

A new op joins the sweeps of test_every_op.py (gradients, determinism, half precision, reference
twin, opcheck, compile, empty input) by adding one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.batch_norm import batch_norm_reference
from pointseg.ops.codebook_attention import codebook_attention_reference
from pointseg.ops.codebook_logits import codebook_logits_reference
from pointseg.ops.depthwise_conv import depthwise_conv_reference
from pointseg.ops.gather_neighbors import gather_neighbors_reference
from pointseg.ops.interpolate import interpolate_reference
from pointseg.ops.pool import global_pool_reference, pool_reference
from pointseg.ops.scatter_reduce import scatter_reduce_reference
from pointseg.ops.sparse_conv import sparse_conv_reference
from pointseg.sparse import KernelMap, KernelSpec, Region, RegionSet, VoxelGrid
from tests.ops import scenes

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Problem:
    """`function(*inputs)` and its readable twin; every input has a gradient."""

    function: Function
    reference: Function
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """`build(coords, dtype)` makes the problem on these voxels (unsorted int32 [N, 4]); maps are on
    their device, inputs on the CPU.
    """

    name: str
    build: Callable[[Tensor, torch.dtype], Problem]

    def on_device(self, coords: Tensor, dtype: torch.dtype) -> Problem:
        """The problem with its inputs on the device of the voxels, too."""
        problem = self.build(coords, dtype)
        return replace(problem, inputs=tuple(x.to(coords.device) for x in problem.inputs))


def _map(coords: Tensor, spec: KernelSpec) -> KernelMap:
    return VoxelGrid(coords, num_scenes=2).kernel_map(spec)


def _sparse_conv(spec: KernelSpec) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        kmap = _map(coords, spec)
        inputs = (
            scenes.randn(kmap.num_in, 5, seed=1, dtype=dtype),
            scenes.randn(spec.num_taps, 5, 7, seed=2, dtype=dtype),
            scenes.randn(7, seed=3, dtype=dtype),
        )
        return Problem(
            lambda x, w, b: ops.sparse_conv(x, w, kmap, b),
            lambda x, w, b: sparse_conv_reference(x, w, kmap, b),
            inputs,
        )

    return build


def _sparse_conv_transpose(coords: Tensor, dtype: torch.dtype) -> Problem:
    spec = KernelSpec(3, 2)
    kmap = _map(coords, spec)
    inputs = (
        scenes.randn(kmap.num_out, 5, seed=1, dtype=dtype),
        scenes.randn(spec.num_taps, 5, 7, seed=2, dtype=dtype),
        scenes.randn(7, seed=3, dtype=dtype),
    )
    return Problem(
        lambda x, w, b: ops.sparse_conv_transpose(x, w, kmap, b),
        lambda x, w, b: sparse_conv_reference(x, w, kmap.transposed(), b),
        inputs,
    )


def _depthwise(spec: KernelSpec) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        kmap = _map(coords, spec)
        inputs = (
            scenes.randn(kmap.num_in, 6, seed=1, dtype=dtype),
            scenes.randn(spec.num_taps, 6, seed=2, dtype=dtype),
        )
        return Problem(
            lambda x, w: ops.depthwise_conv(x, w, kmap),
            lambda x, w: depthwise_conv_reference(x, w, kmap),
            inputs,
        )

    return build


def _pool(reduce: str, spec: KernelSpec) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        kmap = _map(coords, spec)
        return Problem(
            lambda x: ops.pool(x, kmap, reduce),
            lambda x: pool_reference(x, kmap, reduce),
            (scenes.randn(kmap.num_in, 6, seed=1, dtype=dtype),),
        )

    return build


def _global_pool(reduce: str) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        grid = VoxelGrid(coords, num_scenes=2)
        return Problem(
            lambda x: ops.global_pool(x, grid, reduce),
            lambda x: global_pool_reference(x, grid, reduce),
            (scenes.randn(grid.num_voxels, 6, seed=1, dtype=dtype),),
        )

    return build


def _gather_neighbors(coords: Tensor, dtype: torch.dtype) -> Problem:
    kmap = _map(coords, KernelSpec(3, 2))
    return Problem(
        lambda x: ops.gather_neighbors(x, kmap),
        lambda x: gather_neighbors_reference(x, kmap),
        (scenes.randn(kmap.num_in, 6, seed=1, dtype=dtype),),
    )


def _scatter_reduce(reduce: str) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        num_out = max(1, len(coords) // 3)
        generator = torch.Generator().manual_seed(5)
        index = torch.randint(num_out, (len(coords),), generator=generator).to(coords.device)
        return Problem(
            lambda x: ops.scatter_reduce(x, index, num_out, reduce),
            lambda x: scatter_reduce_reference(x, index, num_out, reduce),
            (scenes.randn(len(coords), 6, seed=1, dtype=dtype),),
        )

    return build


def _interpolate(mode: str) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        grid = VoxelGrid(coords, num_scenes=2)
        query = coords.to(torch.float64)
        query[:, 1:] += scenes.randn(len(coords), 3, seed=6).to(coords.device) * 0.7
        return Problem(
            lambda x: ops.interpolate(x, grid, query, mode),
            lambda x: interpolate_reference(x, grid, query, mode),
            (scenes.randn(grid.num_voxels, 6, seed=1, dtype=dtype),),
        )

    return build


# A whole cube, taps without their mirrors, and a cross without its centre.
REGIONS = RegionSet(
    (
        Region(KernelSpec(3, dilation=2)),
        Region(KernelSpec(3), (0, 3, 4, 13, 20)),
        Region(KernelSpec(5, shape="cross"), (1, 5, 6, 9)),
    )
)


def _codebook_logits(heads: int, shared: bool) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        rmap = VoxelGrid(coords, num_scenes=2).region_map(REGIONS)
        groups = 1 if shared else len(REGIONS)
        inputs = (
            scenes.randn(rmap.num_voxels, groups, heads, seed=1, dtype=dtype),
            scenes.randn(REGIONS.num_taps, heads, seed=2, dtype=dtype),
        )
        return Problem(
            lambda q, s: ops.codebook_logits(q, s, rmap),
            lambda q, s: codebook_logits_reference(q, s, rmap),
            inputs,
        )

    return build


def _codebook_attention(
    heads: int, channels: int, zeros: float = 0.0
) -> Callable[[Tensor, torch.dtype], Problem]:
    """`zeros`: share of choices that are exactly zero, which kernels may skip."""

    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        rmap = VoxelGrid(coords, num_scenes=2).region_map(REGIONS)
        choice = scenes.randn(rmap.num_voxels, heads, len(REGIONS), seed=2, dtype=dtype)
        dropped = torch.rand(choice.shape, generator=torch.Generator().manual_seed(4)) < zeros
        inputs = (
            scenes.randn(rmap.num_voxels, channels, seed=1, dtype=dtype),
            choice.masked_fill(dropped, 0.0),
            scenes.randn(REGIONS.num_taps, channels, seed=3, dtype=dtype),
        )
        return Problem(
            lambda v, a, w: ops.codebook_attention(v, a, w, rmap),
            lambda v, a, w: codebook_attention_reference(v, a, w, rmap),
            inputs,
        )

    return build


def _batch_norm(
    training: bool, residual: bool, relu: bool
) -> Callable[[Tensor, torch.dtype], Problem]:
    def build(coords: Tensor, dtype: torch.dtype) -> Problem:
        inputs = (
            scenes.randn(len(coords), 37, seed=1, dtype=dtype),
            scenes.randn(37, seed=2, dtype=dtype),
            scenes.randn(37, seed=3, dtype=dtype),
            *([scenes.randn(len(coords), 37, seed=4, dtype=dtype)] if residual else []),
        )
        running = {
            "running_mean": scenes.randn(37, seed=5, dtype=dtype),
            "running_var": scenes.randn(37, seed=6, dtype=dtype).square() + 0.1,
        }

        def run(norm: Function, x: Tensor, w: Tensor, b: Tensor, r: Tensor | None = None) -> Tensor:
            if training and len(x) != 1:  # one row has no variance
                return norm(x, w, b, residual=r, relu=relu, training=True)
            statistics = {name: value.to(x) for name, value in running.items()}
            return norm(x, w, b, residual=r, relu=relu, **statistics)

        return Problem(partial(run, ops.batch_norm), partial(run, batch_norm_reference), inputs)

    return build


CASES = (
    Case("batch_norm", _batch_norm(training=True, residual=False, relu=False)),
    Case("batch_norm_relu", _batch_norm(training=True, residual=False, relu=True)),
    Case("batch_norm_residual", _batch_norm(training=True, residual=True, relu=False)),
    Case("batch_norm_residual_relu", _batch_norm(training=True, residual=True, relu=True)),
    Case("batch_norm_running", _batch_norm(training=False, residual=False, relu=True)),
    Case("batch_norm_running_residual", _batch_norm(training=False, residual=True, relu=True)),
    Case("sparse_conv", _sparse_conv(KernelSpec(3))),
    Case("sparse_conv_strided", _sparse_conv(KernelSpec(2, 2))),
    Case("sparse_conv_even", _sparse_conv(KernelSpec(2))),
    Case("sparse_conv_transpose", _sparse_conv_transpose),
    Case("depthwise_conv", _depthwise(KernelSpec(3, 1, 2))),
    Case("depthwise_conv_strided", _depthwise(KernelSpec(3, 2))),
    Case("codebook_logits", _codebook_logits(8, shared=False)),
    Case("codebook_logits_shared", _codebook_logits(3, shared=True)),
    Case("codebook_attention", _codebook_attention(2, 6)),
    Case("codebook_attention_wide", _codebook_attention(8, 72)),
    Case("codebook_attention_some_zero", _codebook_attention(8, 40, zeros=0.3)),
    Case("codebook_attention_most_zero", _codebook_attention(8, 40, zeros=0.7)),
    Case("pool_max", _pool("max", KernelSpec(3))),
    Case("pool_max_strided", _pool("max", KernelSpec(3, 2))),
    Case("pool_avg", _pool("avg", KernelSpec(3))),
    Case("pool_avg_strided", _pool("avg", KernelSpec(2, 2))),
    Case("pool_sum", _pool("sum", KernelSpec(3, 2))),
    Case("global_pool_max", _global_pool("max")),
    Case("global_pool_avg", _global_pool("avg")),
    Case("global_pool_sum", _global_pool("sum")),
    Case("gather_neighbors", _gather_neighbors),
    Case("scatter_reduce_sum", _scatter_reduce("sum")),
    Case("scatter_reduce_mean", _scatter_reduce("mean")),
    Case("scatter_reduce_max", _scatter_reduce("max")),
    Case("scatter_reduce_min", _scatter_reduce("min")),
    Case("interpolate_trilinear", _interpolate("trilinear")),
    Case("interpolate_nearest", _interpolate("nearest")),
)
