"""The other engines on the same problems, thread for thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pointseg import ops
from pointseg.benchmark.peers import Peer, PeerFailure
from pointseg.benchmark.peers.process import Job, matching_rows
from pointseg.benchmark.report import Row
from pointseg.benchmark.suites.cases import Options, check_equal
from pointseg.benchmark.timing import median_ms, threads
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid

CUBE3 = KernelSpec(3)
CHANNELS = (32, 64, 128, 256)
DEPTHWISE_CHANNELS = 64
LARGE = 200_000  # voxels above which only the narrowest convolution is short enough

Results = dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """What an engine is asked to do.

    Attributes:
        name: of its rows.
        job: the operator and whether gradients are part of it.
        arrays: what it is given; `feats`, `weight` and `grad` in our layout.
        ours: the same by us; this is what is timed.
        results: what `ours` returned, by the names that engines give to theirs.
    """

    name: str
    job: Job
    arrays: Results
    ours: Callable[[], Any]
    results: Callable[[Any], Results]


def peer_rows(options: Options, scene: str, grid: VoxelGrid) -> Iterator[Row]:
    """A row for every engine and problem that it has the operator of."""
    if not options.peers:
        return
    for problem in problems(options, scene, grid):
        for peer in options.peers:
            if problem.job.operator in peer.operators:
                yield peer_row(options, peer, problem, grid)


def peer_row(options: Options, peer: Peer, problem: Problem, grid: VoxelGrid) -> Row:
    """Both times, or ours and why there is none of the engine: it failed, or computed another
    thing.
    """
    count = peer.threads(options.threads)
    with threads(count):
        expected = problem.results(problem.ours())
        our_ms = median_ms(problem.ours, options.repeats)
    row = ("ops", problem.name, "ms")
    try:
        peer_ms, results = peer.measure(problem.job, problem.arrays, count)
        check_results(problem.name, expected, results, grid)
    except (PeerFailure, AssertionError) as error:
        return Row(*row, count, our_ms, peer.name, None, None, note=str(error))
    return Row.compare(*row, our_ms, peer.name, peer_ms, count)


def check_results(case: str, expected: Results, found: Results, grid: VoxelGrid) -> None:
    """AssertionError or PeerFailure where an engine computed something else.

    Rows that it puts out are matched by their coordinates; gradients of features come in the order
    of the features it was given.
    """
    rows = matching_rows(grid.coords, found["coords"])
    for name, ours in expected.items():
        theirs = found[name]
        if name == "out":
            theirs = theirs[rows]
        if name == "neighbors":
            back = torch.full((len(rows) + 1,), -1)  # a row of theirs -> ours; none stays none
            back[rows] = torch.arange(len(rows))
            theirs = back[theirs[rows].long()].int()
            assert torch.equal(ours, theirs), f"{case}: other neighbours"
        else:
            check_equal(f"{case}, {name}", ours, theirs)


def problems(options: Options, scene: str, grid: VoxelGrid) -> Iterator[Problem]:
    """Cold kernel map, convolutions and depthwise convolution: those that are wanted."""
    name = f"kernel_map_k3_{scene}"
    if options.wants(name):
        yield Problem(
            name,
            Job("kernel_map", repeats=options.repeats),
            {"coords": grid.coords},
            lambda: VoxelGrid(grid.coords).kernel_map(CUBE3),
            lambda kmap: {"neighbors": kmap.neighbors()},
        )
    generator = torch.Generator().manual_seed(0)
    few = options.quick or grid.num_voxels > LARGE
    cases = [("sparse_conv", "conv", channels) for channels in CHANNELS[: 1 if few else None]]
    cases += [("depthwise_conv", "depthwise_conv", DEPTHWISE_CHANNELS)]
    for operator, short, channels in cases:
        for mode in ("fwd", "fwdbwd"):
            name = f"{short}_{mode}_C{channels}_{scene}"
            if not options.wants(name):
                continue
            shape = (27, channels, channels) if operator == "sparse_conv" else (27, channels)
            arrays = {
                "coords": grid.coords,
                "feats": torch.randn(grid.num_voxels, channels, generator=generator),
                "weight": torch.randn(shape, generator=generator) * 0.05,
                "grad": torch.randn(grid.num_voxels, channels, generator=generator),
            }
            job = Job(operator, mode == "fwdbwd", options.repeats)
            yield _layer_problem(name, job, arrays, grid.kernel_map(CUBE3))


def _layer_problem(name: str, job: Job, arrays: Results, kmap: KernelMap) -> Problem:
    functions: dict[str, Callable[..., Tensor]] = {
        "sparse_conv": ops.sparse_conv,
        "depthwise_conv": ops.depthwise_conv,
    }
    function = functions[job.operator]
    if not job.backward:

        def forward() -> tuple[Tensor, ...]:
            with torch.no_grad():
                return (function(arrays["feats"], arrays["weight"], kmap),)

        return Problem(name, job, arrays, forward, lambda out: {"out": out[0]})

    leaves = tuple(arrays[key].detach().requires_grad_() for key in ("feats", "weight"))

    def both() -> tuple[Tensor, ...]:
        out = function(*leaves, kmap)
        return (out.detach(), *torch.autograd.grad(out, leaves, arrays["grad"]))

    keys = ("out", "grad_feats", "grad_weight")
    return Problem(name, job, arrays, both, lambda found: dict(zip(keys, found, strict=True)))
