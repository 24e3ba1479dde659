"""A case: two functions of the same inputs, compared, then timed forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from pointseg.benchmark.ceilings import Ceilings
from pointseg.benchmark.peers import Peer
from pointseg.benchmark.report import Row
from pointseg.benchmark.timing import (
    CPU,
    best_ms,
    copy_gb_per_s,
    fma_gflops,
    median_ms,
    peak_mib,
    threads,
)

TOLERANCE = 1e-4  # of the largest value: float32 sums of many terms in another order

Function = Callable[..., Tensor]
Results = Tensor | tuple[Tensor, ...]
Call = Callable[[], Results]


@dataclass(frozen=True)
class Options:
    """What to measure, and how thoroughly.

    Attributes:
        threads: for ours; plain torch takes the best of 1 and this many.
        quick: the small room, fewer repeats and widths.
        only: a part of the names of the cases to measure, or a pattern with * and ?.
        peers: engines to measure beside us.
        voxels: sizes of the sweep that suite "model" makes where there are some.
        device: what is measured.
        ceilings: of a GPU, which rates and floors are set beside.
    """

    threads: int
    quick: bool = False
    only: str = "*"
    peers: tuple[Peer, ...] = ()
    voxels: tuple[int, ...] = ()
    device: torch.device = CPU
    ceilings: Ceilings | None = None

    @property
    def repeats(self) -> int:
        return 3 if self.quick else 7

    @property
    def other_threads(self) -> tuple[int, ...]:
        return tuple(sorted({1, self.threads}))

    def wants(self, case: str) -> bool:
        """Whether this case is to be measured."""
        return fnmatchcase(case, f"*{self.only}*")


@dataclass(frozen=True)
class Case:
    """One computation by us and in plain torch; the results are to agree.

    Attributes:
        suite, name: of its rows.
        ours, other: functions of `inputs`.
        inputs: what gradients are taken of, float.
        shown: what of a result is compared, where two right results can differ.
        flops: multiplications and additions of the forward pass; above 0, a row sets the rate
            beside the processor's peak.
        bound_by_memory: whether a row sets the least possible traffic beside the copy bandwidth.
    """

    suite: str
    name: str
    ours: Function
    other: Function
    inputs: tuple[Tensor, ...]
    shown: Callable[[Tensor], Tensor] | None = None
    flops: int = 0
    bound_by_memory: bool = False

    def forward(self, options: Options) -> Iterator[Row]:
        """Time of the forward pass, without autograd."""
        if not options.wants(self.name):
            return

        inputs = tuple(x.to(options.device) for x in self.inputs)

        def call(function: Function) -> Tensor:
            with torch.no_grad():
                return function(*inputs)

        out = call(self.ours)
        traffic = num_bytes(*inputs, out)
        yield from self._rows(
            options, lambda: call(self.ours), lambda: call(self.other), self.flops, traffic
        )

    def forward_backward(self, options: Options) -> Iterator[Row]:
        """Time of the forward pass and the gradients of all inputs, and what they allocate."""
        if not options.wants(self.name):
            return
        inputs = tuple(x.detach().to(options.device).requires_grad_() for x in self.inputs)
        with torch.no_grad():
            shape = self.ours(*inputs).shape
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(options.device)

        def call(function: Function) -> tuple[Tensor, ...]:
            out = function(*inputs)
            return (out.detach(), *torch.autograd.grad(out, inputs, grad))

        # Forward reads the inputs and writes the result; backward reads its gradient and the
        # inputs, and writes their gradients.
        traffic = 3 * num_bytes(*inputs) + 2 * num_bytes(grad)
        ours, other = (lambda: call(self.ours)), (lambda: call(self.other))
        yield from self._rows(options, ours, other, 3 * self.flops, traffic)
        yield memory_row(options, self.suite, self.name, ours, "plain_torch", other)

    def _rows(
        self, options: Options, ours: Call, other: Call, flops: int, traffic: int
    ) -> Iterator[Row]:
        shown = self.shown or (lambda result: result)
        for a, b in zip(as_tuple(ours()), as_tuple(other()), strict=True):
            check_equal(self.name, shown(a), shown(b))
        row = time_row(options, self.suite, self.name, ours, "plain_torch", other)
        yield row
        if flops:
            yield peak_row(options, row, "GFLOP/s", flops)
        if self.bound_by_memory:
            yield peak_row(options, row, "GB/s", traffic)


def peak_row(options: Options, time: Row, unit: str, work: float) -> Row:
    """The rate of a row in ms beside the machine's peak: that of a processor, which changes with
    the load, is measured again next to it.

    work: floating point operations for "GFLOP/s"; for "GB/s" the bytes of inputs read once and
    results written once, the least that any way has to move (the map's lists are not counted).
    """
    name, measure = {"GFLOP/s": ("peak", fma_gflops), "GB/s": ("copy", copy_gb_per_s)}[unit]
    if options.ceilings is not None:
        of_unit = {"peak": 1e3 * options.ceilings.tflops("float32")}
        peak = of_unit.get(name, options.ceilings.copy_gb_per_s)
    else:
        with threads(options.threads):
            peak = measure()
    rate = 1e-6 * work / time.ours
    return Row.compare(time.suite, time.case, unit, rate, name, peak, options.threads)


def time_row(
    options: Options, suite: str, name: str, ours: Call, other_name: str, other: Call
) -> Row:
    """Median times; the other way has the better number of threads."""
    with threads(options.threads):
        our_ms = median_ms(ours, options.repeats, options.device)
    other_ms = best_ms(other, options.repeats, options.other_threads, options.device)
    return Row.compare(suite, name, "ms", our_ms, other_name, other_ms, options.threads)


def memory_row(
    options: Options, suite: str, name: str, ours: Call, other_name: str, other: Call
) -> Row:
    """Most that is allocated at once beyond the inputs."""
    values = (peak_mib(ours, options.device), other_name, peak_mib(other, options.device))
    return Row.compare(f"{suite}_memory", name, "MiB", *values, options.threads)


def check_equal(case: str, ours: Tensor, other: Tensor, tolerance: float = TOLERANCE) -> None:
    """A time is worth nothing if the two compute different things."""
    assert ours.shape == other.shape, f"{case}: {list(ours.shape)} and {list(other.shape)}"
    error = ((ours - other).abs().max() / other.abs().max()).item()
    if not error < tolerance:
        raise AssertionError(f"{case}: results differ by {error:.2g} of the largest value")


def num_bytes(*tensors: Tensor) -> int:
    """What the tensors take."""
    return sum(x.numel() * x.element_size() for x in tensors)


def as_tuple(results: Results) -> tuple[Tensor, ...]:
    """One result or several, as several."""
    return results if isinstance(results, tuple) else (results,)
