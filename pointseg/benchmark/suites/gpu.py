"""What a GPU is for: maps, convolutions, attention and training steps, beside plain torch and the
least time that the device's measured ceilings allow.

Times are microseconds between events, with the cache flushed before every call; those of training
steps are milliseconds, without. Every case is compared with plain torch before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pointseg import ops
from pointseg.benchmark import floors, plain_torch
from pointseg.benchmark.ceilings import KINDS, Ceilings, precision_of
from pointseg.benchmark.inputs import Scene
from pointseg.benchmark.network_cost import Task, measure
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options, Results, as_tuple, check_equal
from pointseg.benchmark.suites.model import cost_rows
from pointseg.benchmark.timing import median_ms
from pointseg.models import build_model
from pointseg.nn.choice import entry_softmax
from pointseg.sparse import GeometryPlan, KernelSpec, VoxelGrid, cubes

CUBE3 = KernelSpec(3)
REGIONS = cubes(2, 1, 3)
HEADS = 8
CHANNELS = (32, 64, 128, 256)
QUICK_CHANNELS = CHANNELS[:1]
NETWORKS = ("minkunet34c", "codedvtr_m")
AUTOCAST = (None, "bfloat16")
# Of the largest value. Sums of a few hundred rounded products, rounded once more when stored; tf32
# rounds products' factors to 11 bits.
TOLERANCES = {"float32": 1e-4, "tf32": 5e-3, "float16": 5e-3, "bfloat16": 4e-2}

Call = Callable[[], object]


@dataclass(frozen=True)
class Beside:
    """One way to compute: ours, plain torch's, and the least microseconds it can take."""

    ours: Callable[[], Results]
    other: Callable[[], Results]
    floor_us: Callable[[Ceilings], float]


def gpu_rows(options: Options, scene: Scene) -> Iterator[Row]:
    """All cases on one scene; the networks only without --quick."""
    grid = scene.grid(options.device)
    yield from _tried("geometry", _geometry_rows(options, scene.name, grid))
    for channels in QUICK_CHANNELS if options.quick else CHANNELS:
        for kind in KINDS:
            name = f"C{channels}_{kind}_{scene.name}"
            for what, rows in PARTS.items():
                if kind != "tf32" or what == "conv":  # the others have no products
                    part = rows(options, name, grid, channels, kind)
                    yield from _tried(f"{what}_{name}", part)
    if not options.quick:
        yield from _tried("networks", _network_rows(options, scene, grid))


def _tried(what: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, up to one that fails: then a row that says why, and the other cases go on."""
    try:
        yield from rows
    except Exception as error:
        yield Row("gpu", what, "us", None, 0.0, "-", None, None, note=f"failed: {error}")


def _geometry_rows(options: Options, scene: str, grid: VoxelGrid) -> Iterator[Row]:
    name = f"kernel_map_k3_{scene}"
    if options.wants(name):
        ours = _us(options, lambda: VoxelGrid(grid.coords, num_scenes=1).kernel_map(CUBE3))
        other = _us(options, lambda: plain_torch.kernel_map(grid, CUBE3))
        yield Row.compare("gpu", name, "us", ours, "plain_torch", other)
    for network in NETWORKS:
        name = f"prepare_{network}_{scene}"
        if options.wants(name):
            plan = build_model(network, 3, 20).geometry()  # type: ignore[operator]

            def prepare(plan: GeometryPlan = plan) -> VoxelGrid:
                return VoxelGrid(grid.coords, num_scenes=1).prepare(plan)

            yield Row.alone("gpu", name, "us", _us(options, prepare))


def _conv_rows(
    options: Options, name: str, grid: VoxelGrid, channels: int, kind: str
) -> Iterator[Row]:
    cases = [f"conv_{part}_{name}" for part in ("fwd", "dgrad", "wgrad")]
    if not any(map(options.wants, cases)):
        return
    kmap = grid.kernel_map(CUBE3)
    pairs = plain_torch.tap_pairs(kmap)
    swapped = [(out_rows, in_rows) for in_rows, out_rows in pairs]
    dtype, _ = KINDS[kind]
    x = _randn(grid, (kmap.num_in, channels), dtype).requires_grad_()
    w = (_randn(grid, (kmap.num_taps, channels, channels), dtype) * 0.05).requires_grad_()
    grad = _randn(grid, (kmap.num_out, channels), dtype)
    turned = w.detach().transpose(1, 2)

    def weight_grad() -> Tensor:
        return torch.stack([x.detach()[i].T @ grad[o] for i, o in pairs])

    with precision_of(kind):
        out = ops.sparse_conv(x, w, kmap)
        ways = (
            Beside(
                _without_grad(lambda: ops.sparse_conv(x, w, kmap)),
                _without_grad(lambda: plain_torch.sparse_conv(x, w, pairs, kmap.num_out)),
                lambda c: floors.conv_us(c, kmap, x, out, kind),
            ),
            Beside(
                _grad(out, (x,), grad),
                lambda: plain_torch.sparse_conv(grad, turned, swapped, kmap.num_in),
                lambda c: floors.conv_us(c, kmap, grad, x, kind),
            ),
            Beside(
                _grad(out, (w,), grad),
                weight_grad,
                lambda c: floors.conv_us(c, kmap, x, grad, kind),
            ),
        )
        for case, way in zip(cases, ways, strict=True):
            yield from _rows(options, case, way, TOLERANCES[kind])


def _attention_rows(
    options: Options, name: str, grid: VoxelGrid, channels: int, kind: str
) -> Iterator[Row]:
    """The values where the shares of every entry are given, and all three gradients."""
    cases = f"attention_fwd_{name}", f"attention_bwd_{name}"
    if not any(map(options.wants, cases)):
        return
    rmap = grid.region_map(REGIONS)
    entries = plain_torch.entry_pairs(grid, REGIONS)
    dtype, _ = KINDS[kind]
    logits = torch.randn(grid.num_voxels, HEADS, len(REGIONS), device=grid.device)
    v, choice, w = (
        tensor.detach().requires_grad_()
        for tensor in (
            _randn(grid, (grid.num_voxels, channels), dtype),
            entry_softmax(logits).to(dtype),
            _randn(grid, (REGIONS.num_taps, channels), dtype) * 0.05,
        )
    )
    grad = _randn(grid, (grid.num_voxels, channels), dtype)
    inputs, num_neighbors = (v, choice, w), rmap.neighbors.shape[0]
    out = ops.codebook_attention(*inputs, rmap)
    yield from _rows(
        options,
        cases[0],
        Beside(
            _without_grad(lambda: ops.codebook_attention(*inputs, rmap)),
            _without_grad(lambda: plain_torch.codebook_attention(*inputs, entries)),
            lambda c: floors.neighbors_us(c, num_neighbors, *inputs, out),
        ),
        TOLERANCES[kind],
    )
    if options.wants(cases[1]):
        other = plain_torch.codebook_attention(*inputs, entries)
        yield from _rows(
            options,
            cases[1],
            Beside(
                _grad(out, inputs, grad),
                _grad(other, inputs, grad),
                lambda c: floors.neighbors_us(c, num_neighbors, *inputs, grad, *inputs),
            ),
            TOLERANCES[kind],
        )


def _depthwise_rows(
    options: Options, name: str, grid: VoxelGrid, channels: int, kind: str
) -> Iterator[Row]:
    case = f"depthwise_fwd_{name}"
    if not options.wants(case):
        return
    kmap = grid.kernel_map(CUBE3)
    pairs = plain_torch.tap_pairs(kmap)
    dtype, _ = KINDS[kind]
    x = _randn(grid, (kmap.num_in, channels), dtype)
    w = _randn(grid, (kmap.num_taps, channels), dtype)
    way = Beside(
        lambda: ops.depthwise_conv(x, w, kmap),
        lambda: plain_torch.depthwise_conv(x, w, pairs, kmap.num_out),
        lambda c: floors.neighbors_us(c, kmap.num_pairs, x, x, w),
    )
    yield from _rows(options, case, way, TOLERANCES[kind])


def _norm_rows(
    options: Options, name: str, grid: VoxelGrid, channels: int, kind: str
) -> Iterator[Row]:
    """In training, with a residual; plain torch has two operators. Without a ReLU: sums that are
    below zero here and above it there would have quite other gradients.
    """
    cases = f"batch_norm_fwd_{name}", f"batch_norm_bwd_{name}"
    if not any(map(options.wants, cases)):
        return
    dtype, _ = KINDS[kind]
    rows = (grid.num_voxels, channels)
    x, residual = (_randn(grid, rows, dtype, seed).requires_grad_() for seed in (0, 1))
    scale, shift = (_randn(grid, (channels,), torch.float32, s).requires_grad_() for s in (2, 3))
    grad = _randn(grid, rows, dtype, 4)
    inputs = (x, scale, shift, residual)

    def ours() -> Tensor:
        return ops.batch_norm(x, scale, shift, residual=residual, training=True)

    def other() -> Tensor:
        return F.batch_norm(x, None, None, scale, shift, training=True) + residual

    ways = (
        Beside(
            _without_grad(ours),
            _without_grad(other),
            lambda c: floors.neighbors_us(c, 0, x, residual, x),
        ),
        Beside(
            _grad(ours(), inputs, grad),
            _grad(other(), inputs, grad),
            lambda c: floors.neighbors_us(c, 0, x, grad, x, residual),
        ),
    )
    for case, way in zip(cases, ways, strict=True):
        yield from _rows(options, case, way, TOLERANCES[kind])


PARTS = {
    "conv": _conv_rows,
    "attention": _attention_rows,
    "depthwise": _depthwise_rows,
    "batch_norm": _norm_rows,
}


def _network_rows(options: Options, scene: Scene, grid: VoxelGrid) -> Iterator[Row]:
    """Training steps, maps included, in this process: the device is loaded already."""
    for network in NETWORKS:
        for autocast in AUTOCAST:
            task = Task(
                network,
                training=True,
                voxel_size_m=scene.voxel_size_m,
                num_voxels=None,
                threads=options.threads,
                repeats=options.repeats,
                shares=True,
                device=str(options.device),
                autocast=autocast,
            )
            case = f"{task.name}_{scene.name}"
            if options.wants(case):
                yield from cost_rows(case, measure(task, grid.coords))


def _rows(options: Options, case: str, way: Beside, tolerance: float) -> Iterator[Row]:
    """Ours beside plain torch, and beside the floor where there are ceilings."""
    if not options.wants(case):
        return
    for a, b in zip(as_tuple(way.ours()), as_tuple(way.other()), strict=True):
        check_equal(case, a.float(), b.float(), tolerance)
    ours = _us(options, way.ours)
    yield Row.compare("gpu", case, "us", ours, "plain_torch", _us(options, way.other))
    if options.ceilings is not None:
        yield Row.compare("gpu", case, "us", ours, "floor", way.floor_us(options.ceilings))


def _without_grad(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        with torch.no_grad():
            return call()

    return forward


def _grad(
    out: Tensor, inputs: tuple[Tensor, ...], grad: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """The gradients of `inputs`, of a pass whose forward part is over."""
    return lambda: torch.autograd.grad(out, inputs, grad, retain_graph=True)


def _us(options: Options, call: Call) -> float:
    return 1e3 * median_ms(call, options.repeats, options.device)


def _randn(grid: VoxelGrid, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(grid.device, dtype)
