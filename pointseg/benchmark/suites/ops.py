"""Operators on a room, against plain torch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Case, Options
from pointseg.benchmark.suites.peers import peer_rows
from pointseg.benchmark.timing import best_ms, fma_gflops, median_ms, threads
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid

CUBE3 = KernelSpec(3)
HALVING = KernelSpec(2, stride=2)
CHANNELS = (32, 64, 128, 256)
QUICK_CHANNELS = CHANNELS[:2]
CODES = (8, 16, 16)  # heads, codes of a head, dimensions of a code


def ops_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """Voxels and kernel maps, convolution, then every other operator once."""
    grid = scene.grid()
    yield from _geometry_rows(options, scene, grid)
    kmap = grid.kernel_map(CUBE3)
    pairs = plain_torch.tap_pairs(kmap)
    for channels in QUICK_CHANNELS if options.quick else CHANNELS:
        yield from _conv_rows(options, f"C{channels}_{scene.name}", kmap, pairs, channels)
    for case in neighborhood_cases(scene.name, grid):
        yield from case.forward_backward(options)
    for case in point_cases(scene, grid):
        yield from case.forward_backward(options)
    yield from quantize_case(scene.name, grid.num_voxels).forward(options)
    yield from peer_rows(options, scene.name, grid)


def _geometry_rows(options: Options, scene: Scene, grid: VoxelGrid) -> Iterator[Row]:
    cells = torch.floor(scene.points() / scene.voxel_size_m).int()
    coords = torch.nn.functional.pad(cells, (1, 0))
    with threads(options.threads):
        ours = median_ms(lambda: ops.voxelize(coords), options.repeats)
    other = best_ms(
        lambda: torch.unique(coords, dim=0, return_inverse=True, return_counts=True),
        options.repeats,
        options.other_threads,
    )
    yield Row.compare("ops", f"voxelize_{scene.name}", "ms", ours, "plain_torch", other)
    with threads(options.threads):
        ours = median_ms(lambda: VoxelGrid(grid.coords).kernel_map(CUBE3), options.repeats)
    other = best_ms(
        lambda: plain_torch.kernel_map(grid, CUBE3), options.repeats, options.other_threads
    )
    yield Row.compare("ops", f"kernel_map_k3_{scene.name}", "ms", ours, "plain_torch", other)


def _conv_rows(
    options: Options, case: str, kmap: KernelMap, pairs: plain_torch.Pairs, channels: int
) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(kmap.num_in, channels, generator=generator),
        torch.randn(kmap.num_taps, channels, channels, generator=generator) * 0.05,
    )

    def ours(x: Tensor, w: Tensor) -> Tensor:
        return ops.sparse_conv(x, w, kmap)

    def other(x: Tensor, w: Tensor) -> Tensor:
        return plain_torch.sparse_conv(x, w, pairs, kmap.num_out)

    forward = Case("ops", f"conv_fwd_{case}", ours, other, inputs)
    both = Case("ops", f"conv_fwdbwd_{case}", ours, other, inputs)
    for name, products, rows in (
        (forward.name, 1, forward.forward(options)),
        (both.name, 3, both.forward_backward(options)),
    ):
        for row in rows:
            yield row
            if row.unit == "ms":
                with threads(options.threads):
                    peak = fma_gflops()
                rate = 2e-6 * products * kmap.num_pairs * channels**2 / row.ours
                yield Row.compare("ops", name, "GFLOP/s", rate, "peak", peak)


def neighborhood_cases(size: str, grid: VoxelGrid) -> Iterator[Case]:
    """Operators over a kernel map."""
    generator = torch.Generator().manual_seed(0)
    kmap, half = grid.kernel_map(CUBE3), grid.kernel_map(HALVING)
    pairs, half_pairs = plain_torch.tap_pairs(kmap), plain_torch.tap_pairs(half)
    table = kmap.neighbors().long()
    feats = torch.randn(grid.num_voxels, 64, generator=generator)
    weight = torch.randn(kmap.num_taps, 64, generator=generator)
    yield Case(
        "ops",
        f"depthwise_conv_fwdbwd_C64_{size}",
        lambda x, w: ops.depthwise_conv(x, w, kmap),
        lambda x, w: plain_torch.depthwise_conv(x, w, pairs, kmap.num_out),
        (feats, weight),
    )
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
    """Operators between points and voxels: every eighth point of the room."""
    generator = torch.Generator().manual_seed(0)
    points = scene.points()[::8]
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


def quantize_case(size: str, num_vectors: int) -> Case:
    """The nearest code. Of two that are as near, rounding decides: distances are compared."""
    heads, codes, dims = CODES
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(num_vectors, heads, dims, generator=generator)
    table = torch.randn(heads, codes, dims, generator=generator)

    def distance(index: Tensor) -> Tensor:
        return (vectors - table[torch.arange(heads), index]).norm(dim=2)

    return Case(
        "ops",
        f"vector_quantize_{size}",
        ops.vector_quantize,
        plain_torch.vector_quantize,
        (vectors, table),
        shown=distance,
    )
