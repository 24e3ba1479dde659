"""Time and memory of the main operators from ten thousand to five million voxels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import HALL_VOXEL_SIZE_M, hall_points
from pointseg.benchmark.scaling import OURS, PLAIN, Point
from pointseg.benchmark.suites.cases import Options, check_equal
from pointseg.benchmark.timing import median_ms, peak_mib, threads
from pointseg.machine import release_freed_memory
from pointseg.ops import voxelize_points
from pointseg.sparse import KernelSpec, VoxelGrid, cubes

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 5_000_000)
QUICK_SIZES = SIZES[:3]
PLAIN_UP_TO = 300_000  # voxels; above, plain torch takes minutes and gigabytes
CUBE3 = KernelSpec(3)
REGIONS = cubes(2, 1, 3)
HEADS = 8


@dataclass(frozen=True)
class Work:
    """What one case does at one size.

    Attributes:
        size: voxels, or points.
        ours, plain: the two ways.
        comparable: whether both return tensors, which are to agree.
    """

    size: int
    ours: Callable[[], Any]
    plain: Callable[[], Any]
    comparable: bool = True


def hall(num_voxels: int) -> tuple[Tensor, VoxelGrid]:
    """Coordinates of points, int32 [P, 4], and the grid of their voxels."""
    points = hall_points(num_voxels)
    cells = torch.floor(points / HALL_VOXEL_SIZE_M).int()
    grid = VoxelGrid(voxelize_points(points, HALL_VOXEL_SIZE_M).coords, num_scenes=1)
    return torch.nn.functional.pad(cells, (1, 0)), grid


def sizes(options: Options) -> tuple[int, ...]:
    """Voxels of the halls."""
    return QUICK_SIZES if options.quick else SIZES


def measure(options: Options, coords: Tensor, grid: VoxelGrid) -> Iterator[Point]:
    """Points of all wanted cases at one size, of which one holds memory at a time."""
    engines = (OURS, PLAIN) if _plain_too(grid) else (OURS,)
    for case, make in MAKERS.items():
        if options.wants(case):
            yield from _points(options, case, make(coords, copy.copy(grid)), engines)
            release_freed_memory()


def _points(options: Options, case: str, work: Work, engines: tuple[str, ...]) -> Iterator[Point]:
    """Points of one case with one thread and with all, once results are found to agree."""
    release_freed_memory()  # that of making the inputs
    calls = {OURS: work.ours, PLAIN: work.plain}
    if PLAIN in engines and work.comparable:
        for a, b in zip(work.ours(), work.plain(), strict=True):
            check_equal(case, a, b)
    for engine in engines:
        call = calls[engine]
        for count in options.other_threads:
            with threads(count):
                time_ms, memory_mib = median_ms(call, options.repeats), peak_mib(call)
            yield Point(case, engine, count, work.size, time_ms, memory_mib)


def _plain_too(grid: VoxelGrid) -> bool:
    return grid.num_voxels < 1.1 * PLAIN_UP_TO  # a hall has about the voxels asked for


def _voxelize(coords: Tensor, grid: VoxelGrid) -> Work:
    def ours() -> tuple[Tensor, Tensor]:
        voxels = ops.voxelize(coords)
        return voxels.coords, voxels.inverse

    return Work(coords.shape[0], ours, lambda: plain_torch.voxelize(coords))


def _kernel_map(coords: Tensor, grid: VoxelGrid) -> Work:
    def ours() -> Any:
        return VoxelGrid(grid.coords).kernel_map(CUBE3)

    return Work(
        grid.num_voxels, ours, lambda: plain_torch.kernel_map(grid, CUBE3), comparable=False
    )


def _conv_forward(coords: Tensor, grid: VoxelGrid) -> Work:
    return _layer(grid, (32, 32), ops.sparse_conv, plain_torch.sparse_conv, backward=False)


def _conv_both(coords: Tensor, grid: VoxelGrid) -> Work:
    return _layer(grid, (32, 32), ops.sparse_conv, plain_torch.sparse_conv, backward=True)


def _depthwise(coords: Tensor, grid: VoxelGrid) -> Work:
    return _layer(grid, (64,), ops.depthwise_conv, plain_torch.depthwise_conv, backward=False)


def _layer(
    grid: VoxelGrid,
    widths: tuple[int, ...],
    our_function: Callable[..., Tensor],
    plain_function: Callable[..., Tensor],
    backward: bool,
) -> Work:
    generator = torch.Generator().manual_seed(0)
    kmap = grid.kernel_map(CUBE3)
    pairs = plain_torch.tap_pairs(kmap) if _plain_too(grid) else []
    feats = torch.randn(kmap.num_in, widths[0], generator=generator)
    weight = torch.randn(kmap.num_taps, *widths, generator=generator) * 0.05
    inputs = tuple(x.requires_grad_(backward) for x in (feats, weight))
    grad = torch.ones(kmap.num_out, widths[-1])

    def call(function: Callable[..., Tensor], *rest: Any) -> tuple[Tensor, ...]:
        out = function(*inputs, *rest)
        return (out.detach(), *(torch.autograd.grad(out, inputs, grad) if backward else ()))

    return Work(
        grid.num_voxels,
        lambda: call(our_function, kmap),
        lambda: call(plain_function, pairs, kmap.num_out),
    )


def _attention(coords: Tensor, grid: VoxelGrid) -> Work:
    generator = torch.Generator().manual_seed(0)
    rmap = grid.region_map(REGIONS)
    v = torch.randn(grid.num_voxels, 64, generator=generator)
    logits = torch.randn(grid.num_voxels, HEADS, len(REGIONS), generator=generator)
    choice = logits.softmax(dim=2)
    weight = torch.randn(REGIONS.num_taps, 64, generator=generator)
    entries = plain_torch.entry_pairs(grid, REGIONS) if _plain_too(grid) else []
    return Work(
        grid.num_voxels,
        lambda: (ops.codebook_attention(v, choice, weight, rmap),),
        lambda: (plain_torch.codebook_attention(v, choice, weight, entries),),
    )


MAKERS: dict[str, Callable[[Tensor, VoxelGrid], Work]] = {
    "voxelize": _voxelize,
    "kernel_map_k3": _kernel_map,
    "conv_fwd_C32": _conv_forward,
    "conv_fwdbwd_C32": _conv_both,
    "depthwise_conv_fwd_C64": _depthwise,
    "attention_values_fwd_C64": _attention,
}
