"""Convolutions: square ones at several widths, and the other shapes that networks have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pointseg import ops
from pointseg.benchmark import plain_torch
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Case, Options, check_equal
from pointseg.benchmark.timing import median_ms, threads
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid

CUBE3 = KernelSpec(3)
STEM = KernelSpec(5)  # of the published MinkUNets
HALVING = KernelSpec(2, stride=2)
CHANNELS = (32, 64, 128, 256)
QUICK_CHANNELS = CHANNELS[:2]
# colours; colours and height; the widest decoder stage to classes; between encoder stages
STEM_SHAPES = ((3, 32), (4, 32))
SHAPES = ((96, 20), (64, 128), (128, 64))
QUICK_SHAPES = SHAPES[:1]
STRIDED_CHANNELS = 64
MAX_ELEMENTS = 2**26  # of a feature matrix: plain torch takes half a minute a call for larger ones
BF16_TOLERANCE = 2e-2  # features, weights and results have 8 bits of mantissa


def conv_rows(options: Options, scene: str, grid: VoxelGrid) -> Iterator[Row]:
    """Every convolution forward and with both gradients, with its rate; then 16-bit numbers."""
    cube = grid.kernel_map(CUBE3)
    widths = QUICK_CHANNELS if options.quick else CHANNELS
    channels = [width for width in widths if width * grid.num_voxels <= MAX_ELEMENTS]
    yield from _rows(options, "conv", scene, cube, [(c, c) for c in channels])
    yield from _rows(options, "conv", scene, cube, QUICK_SHAPES if options.quick else SHAPES)
    stems = STEM_SHAPES[:1] if options.quick else STEM_SHAPES
    if any(options.wants(name) for name in _names("conv_k5", stems, scene)):
        yield from _rows(options, "conv_k5", scene, grid.kernel_map(STEM), stems)
    half, strided = grid.kernel_map(HALVING), [(STRIDED_CHANNELS, STRIDED_CHANNELS)]
    yield from _rows(options, "conv_k2s2", scene, half, strided)
    yield from _rows(options, "conv_transposed_k2s2", scene, half.transposed(), strided)
    for width in channels:
        yield from _bf16_row(options, f"conv_bf16_fwd_C{width}_{scene}", cube, width)


def _rows(
    options: Options, kind: str, scene: str, kmap: KernelMap, shapes: Sequence[tuple[int, int]]
) -> Iterator[Row]:
    if not any(options.wants(name) for name in _names(kind, shapes, scene)):
        return
    pairs = plain_torch.tap_pairs(kmap)
    for shape in shapes:
        forward, both = _names(kind, [shape], scene)
        yield from _case(forward, kmap, pairs, shape).forward(options)
        yield from _case(both, kmap, pairs, shape).forward_backward(options)


def _names(kind: str, shapes: Sequence[tuple[int, int]], scene: str) -> list[str]:
    """``conv_fwd_C32_80k``; with two widths ``conv_fwd_C96-20_80k``."""
    widths = [f"{a}" if a == b else f"{a}-{b}" for a, b in shapes]
    return [f"{kind}_{mode}_C{width}_{scene}" for width in widths for mode in ("fwd", "fwdbwd")]


def _case(name: str, kmap: KernelMap, pairs: plain_torch.Pairs, shape: tuple[int, int]) -> Case:
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(kmap.num_in, shape[0], generator=generator),
        torch.randn(kmap.num_taps, *shape, generator=generator) * 0.05,
    )
    return Case(
        "ops",
        name,
        lambda x, w: ops.sparse_conv(x, w, kmap),
        lambda x, w: plain_torch.sparse_conv(x, w, pairs, kmap.num_out),
        inputs,
        flops=2 * kmap.num_pairs * shape[0] * shape[1],
    )


def _bf16_row(options: Options, name: str, kmap: KernelMap, width: int) -> Iterator[Row]:
    """Ours with bfloat16 features and weights beside ours with float32."""
    if not options.wants(name):
        return
    generator = torch.Generator().manual_seed(0)
    feats = torch.randn(kmap.num_in, width, generator=generator)
    weight = torch.randn(kmap.num_taps, width, width, generator=generator) * 0.05
    feats, weight = feats.to(options.device), weight.to(options.device)
    small, large = (feats.bfloat16(), weight.bfloat16()), (feats, weight)
    with torch.no_grad(), threads(options.threads):
        results = ops.sparse_conv(*small, kmap).float(), ops.sparse_conv(*large, kmap)
        check_equal(name, *results, tolerance=BF16_TOLERANCE)
        ours = median_ms(lambda: ops.sparse_conv(*small, kmap), options.repeats, options.device)
        other = median_ms(lambda: ops.sparse_conv(*large, kmap), options.repeats, options.device)
    yield Row.compare("ops", name, "ms", ours, "float32", other, options.threads)
