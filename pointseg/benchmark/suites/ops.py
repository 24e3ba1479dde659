"""Every operator on a scene, against plain torch and other engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Case, Options
from pointseg.benchmark.suites.conv import conv_rows
from pointseg.benchmark.suites.geometry import geometry_rows
from pointseg.benchmark.suites.peers import peer_rows
from pointseg.sparse import KernelSpec, VoxelGrid

CUBE3 = KernelSpec(3)
HALVING = KernelSpec(2, stride=2)
CODES = (8, 16, 16)  # heads, codes of a head, dimensions of a code


def ops_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """Voxels and maps, convolutions, every other operator once, and the engines that are there."""
    grid = scene.grid(options.device)
    yield from geometry_rows(options, scene, grid)
    yield from conv_rows(options, scene.name, grid)
    depthwise = depthwise_case(scene.name, grid)
    forward_only = replace(depthwise, name=depthwise.name.replace("fwdbwd", "fwd"))
    yield from forward_only.forward(options)
    yield from depthwise.forward_backward(options)
    for case in neighborhood_cases(scene.name, grid):
        yield from case.forward_backward(options)
    for case in point_cases(scene, grid):
        yield from case.forward_backward(options)
    yield from quantize_case(scene.name, grid).forward(options)
    if options.device.type == "cpu":  # the engines are measured on the processor
        yield from peer_rows(options, scene.name, grid)


def depthwise_case(size: str, grid: VoxelGrid) -> Case:
    """3x3x3 at 64 channels."""
    generator = torch.Generator().manual_seed(0)
    kmap = grid.kernel_map(CUBE3)
    pairs = plain_torch.tap_pairs(kmap)
    return Case(
        "ops",
        f"depthwise_conv_fwdbwd_C64_{size}",
        lambda x, w: ops.depthwise_conv(x, w, kmap),
        lambda x, w: plain_torch.depthwise_conv(x, w, pairs, kmap.num_out),
        (
            torch.randn(grid.num_voxels, 64, generator=generator),
            torch.randn(kmap.num_taps, 64, generator=generator),
        ),
        bound_by_memory=True,
    )


def neighborhood_cases(size: str, grid: VoxelGrid) -> Iterator[Case]:
    """Operators over a kernel map."""
    generator = torch.Generator().manual_seed(0)
    kmap, half = grid.kernel_map(CUBE3), grid.kernel_map(HALVING)
    half_pairs = plain_torch.tap_pairs(half)
    table = kmap.neighbors().long()
    feats = torch.randn(grid.num_voxels, 64, generator=generator)
    yield Case(
        "ops",
        f"pool_max_fwdbwd_C64_{size}",
        lambda x: ops.pool(x, half, "max"),
        lambda x: plain_torch.max_pool(x, half_pairs, half.num_out),
        (feats,),
    )
    yield Case(
        "ops",
        f"pool_avg_fwdbwd_C64_{size}",
        lambda x: ops.pool(x, half, "avg"),
        lambda x: plain_torch.avg_pool(x, half_pairs, half.num_out),
        (feats,),
    )
    yield Case(
        "ops",
        f"gather_neighbors_fwdbwd_C8_{size}",
        lambda x: ops.gather_neighbors(x, kmap),
        lambda x: plain_torch.gather_neighbors(x, table),
        (feats[:, :8].contiguous(),),
    )


def point_cases(scene: Scene, grid: VoxelGrid) -> Iterator[Case]:
    """Operators between points and voxels: every eighth point."""
    generator = torch.Generator().manual_seed(0)
    points = scene.points()[::8].to(grid.device)
    feats = torch.randn(points.shape[0], 32, generator=generator)
    index = ops.voxelize_points(points, scene.voxel_size_m).inverse
    bins = int(index.max()) + 1
    for reduce in ("sum", "max"):
        yield Case(
            "ops",
            f"scatter_{reduce}_fwdbwd_C32_{scene.name}",
            lambda x, reduce=reduce: ops.scatter_reduce(x, index, bins, reduce),
            lambda x, reduce=reduce: plain_torch.scatter_reduce(x, index, bins, reduce),
            (feats,),
        )
    query = torch.nn.functional.pad(points / scene.voxel_size_m - 0.5, (1, 0))
    yield Case(
        "ops",
        f"interpolate_fwdbwd_C32_{scene.name}",
        lambda x: ops.interpolate(x, grid, query),
        lambda x: plain_torch.interpolate(x, grid, query),
        (torch.randn(grid.num_voxels, 32, generator=generator),),
    )


def quantize_case(size: str, grid: VoxelGrid) -> Case:
    """The nearest code. Of two that are as near, rounding decides: distances are compared."""
    heads, codes, dims = CODES
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(grid.num_voxels, heads, dims, generator=generator).to(grid.device)
    table = torch.randn(heads, codes, dims, generator=generator).to(grid.device)

    def distance(index: Tensor) -> Tensor:
        return (vectors - table[torch.arange(heads, device=index.device), index]).norm(dim=2)

    return Case(
        "ops",
        f"vector_quantize_{size}",
        ops.vector_quantize,
        plain_torch.vector_quantize,
        (vectors, table),
        shown=distance,
    )
