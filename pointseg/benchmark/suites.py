"""The suites: which cases are measured, and against what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.inputs import room_grid, room_points
from pointseg.benchmark.report import Row
from pointseg.benchmark.timing import best_ms, fma_gflops, median_ms, peak_mib, threads
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid

CUBE3 = KernelSpec(3)
ROOMS = {"80k": 0.05, "500k": 0.02}  # approximate number of voxels: voxel size in metres
CHANNELS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure.

    Attributes:
        threads: for ours; the other way takes the best of 1 and this many.
        quick: the small room, fewer repeats and widths.
    """

    threads: int
    quick: bool = False

    @property
    def repeats(self) -> int:
        return 3 if self.quick else 7

    @property
    def rooms(self) -> dict[str, float]:
        return {"80k": 0.05} if self.quick else ROOMS

    @property
    def channels(self) -> tuple[int, ...]:
        return CHANNELS[:2] if self.quick else CHANNELS

    @property
    def other_threads(self) -> tuple[int, ...]:
        return tuple(sorted({1, self.threads}))


def ops_suite(options: Options) -> Iterator[Row]:
    """Voxels, kernel maps and convolution on a room, against plain torch."""
    for size, voxel_size_m in options.rooms.items():
        grid = room_grid(voxel_size_m)
        yield from _geometry_rows(options, size, voxel_size_m, grid)
        kmap = grid.kernel_map(CUBE3)
        pairs = plain_torch.tap_pairs(kmap)
        for channels in options.channels:
            yield from _conv_rows(options, f"C{channels}_{size}", kmap, pairs, channels)


def _geometry_rows(
    options: Options, size: str, voxel_size_m: float, grid: VoxelGrid
) -> Iterator[Row]:
    points = room_points()
    cells = torch.floor(points / voxel_size_m).int()
    coords = torch.nn.functional.pad(cells, (1, 0))
    with threads(options.threads):
        ours = median_ms(lambda: ops.voxelize(coords), options.repeats)
    other = best_ms(
        lambda: torch.unique(coords, dim=0, return_inverse=True, return_counts=True),
        options.repeats,
        options.other_threads,
    )
    yield Row.compare("ops", f"voxelize_{size}", "ms", ours, "plain_torch", other)
    with threads(options.threads):
        ours = median_ms(lambda: VoxelGrid(grid.coords).kernel_map(CUBE3), options.repeats)
    other = best_ms(
        lambda: plain_torch.kernel_map(grid, CUBE3), options.repeats, options.other_threads
    )
    yield Row.compare("ops", f"kernel_map_k3_{size}", "ms", ours, "plain_torch", other)


def _conv_rows(
    options: Options, case: str, kmap: KernelMap, pairs: plain_torch.Pairs, channels: int
) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    feats = torch.randn(kmap.num_in, channels, generator=generator)
    weight = torch.randn(kmap.num_taps, channels, channels, generator=generator) * 0.05
    grad = torch.randn(kmap.num_out, channels, generator=generator)

    def ours(x: Tensor, w: Tensor) -> Tensor:
        return ops.sparse_conv(x, w, kmap)

    def other(x: Tensor, w: Tensor) -> Tensor:
        return plain_torch.sparse_conv(x, w, pairs, kmap.num_out)

    def forward(conv: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            return conv(feats, weight)

    def forward_backward(conv: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        x, w = feats.requires_grad_(), weight.requires_grad_()
        return torch.autograd.grad(conv(x, w), (x, w), grad)

    repeats = options.repeats
    for name, call in (("fwd", forward), ("fwdbwd", forward_backward)):
        _check_equal(f"conv_{name}_{case}", call(ours), call(other))
        with threads(options.threads):
            our_ms = median_ms(lambda call=call: call(ours), repeats)  # type: ignore[misc]
            peak = fma_gflops()
        other_ms = best_ms(lambda call=call: call(other), repeats, options.other_threads)  # type: ignore[misc]
        yield Row.compare("ops", f"conv_{name}_{case}", "ms", our_ms, "plain_torch", other_ms)
        products = 1 if name == "fwd" else 3
        rate = 2e-6 * products * kmap.num_pairs * channels**2 / our_ms
        yield Row.compare("ops", f"conv_{name}_{case}", "GFLOP/s", rate, "peak", peak)
    our_mib, other_mib = (
        peak_mib(lambda: forward_backward(ours)),
        peak_mib(lambda: forward_backward(other)),
    )
    yield Row.compare("ops_memory", f"conv_fwdbwd_{case}", "MiB", our_mib, "plain_torch", other_mib)


def _check_equal(
    case: str, ours: Tensor | tuple[Tensor, ...], other: Tensor | tuple[Tensor, ...]
) -> None:
    """A time is worth nothing if the two compute different things."""
    ours = ours if isinstance(ours, tuple) else (ours,)
    other = other if isinstance(other, tuple) else (other,)
    for a, b in zip(ours, other, strict=True):
        error = ((a - b).abs().max() / b.abs().max()).item()
        if not error < 1e-4:
            raise AssertionError(f"{case}: results differ by {error:.2g} of the largest value")


SUITES: dict[str, Callable[[Options], Iterator[Row]]] = {"ops": ops_suite}
