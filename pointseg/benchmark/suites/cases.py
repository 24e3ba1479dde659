"""A case: two functions of the same inputs, compared, then timed forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pointseg.benchmark.report import Row
from pointseg.benchmark.timing import best_ms, median_ms, peak_mib, threads

TOLERANCE = 1e-4  # of the largest value: float32 sums of many terms in another order

Function = Callable[..., Tensor]
Results = Tensor | tuple[Tensor, ...]
Call = Callable[[], Results]


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure.

    Attributes:
        threads: for ours; the other way takes the best of 1 and this many.
        quick: the small room, fewer repeats and widths.
        voxels: sizes of the sweep that suite "model" makes where there are some.
    """

    threads: int
    quick: bool = False
    voxels: tuple[int, ...] = ()

    @property
    def repeats(self) -> int:
        return 3 if self.quick else 7

    @property
    def other_threads(self) -> tuple[int, ...]:
        return tuple(sorted({1, self.threads}))


@dataclass(frozen=True)
class Case:
    """One computation by us and in plain torch; the results are to agree.

    Attributes:
        suite, name: of its rows.
        ours, other: functions of `inputs`.
        inputs: what gradients are taken of, float.
        shown: what of a result is compared, where two right results can differ.
    """

    suite: str
    name: str
    ours: Function
    other: Function
    inputs: tuple[Tensor, ...]
    shown: Callable[[Tensor], Tensor] | None = None

    def forward(self, options: Options) -> Iterator[Row]:
        """Time of the forward pass, without autograd."""

        def call(function: Function) -> Tensor:
            with torch.no_grad():
                return function(*self.inputs)

        yield from self._rows(options, lambda: call(self.ours), lambda: call(self.other), False)

    def forward_backward(self, options: Options) -> Iterator[Row]:
        """Time of the forward pass and the gradients of all inputs, and what they allocate."""
        inputs = tuple(x.detach().requires_grad_() for x in self.inputs)
        with torch.no_grad():
            shape = self.ours(*self.inputs).shape
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))

        def call(function: Function) -> tuple[Tensor, ...]:
            out = function(*inputs)
            return (out.detach(), *torch.autograd.grad(out, inputs, grad))

        yield from self._rows(options, lambda: call(self.ours), lambda: call(self.other), True)

    def _rows(self, options: Options, ours: Call, other: Call, memory: bool) -> Iterator[Row]:
        shown = self.shown or (lambda result: result)
        for a, b in zip(_as_tuple(ours()), _as_tuple(other()), strict=True):
            check_equal(self.name, shown(a), shown(b))
        yield time_row(options, self.suite, self.name, ours, "plain_torch", other)
        if memory:
            yield memory_row(self.suite, self.name, ours, "plain_torch", other)


def time_row(
    options: Options, suite: str, name: str, ours: Call, other_name: str, other: Call
) -> Row:
    """Median times; the other way has the better number of threads."""
    with threads(options.threads):
        our_ms = median_ms(ours, options.repeats)
    other_ms = best_ms(other, options.repeats, options.other_threads)
    return Row.compare(suite, name, "ms", our_ms, other_name, other_ms)


def memory_row(suite: str, name: str, ours: Call, other_name: str, other: Call) -> Row:
    """Most that is allocated at once beyond the inputs."""
    return Row.compare(f"{suite}_memory", name, "MiB", peak_mib(ours), other_name, peak_mib(other))


def check_equal(case: str, ours: Tensor, other: Tensor) -> None:
    """A time is worth nothing if the two compute different things."""
    assert ours.shape == other.shape, f"{case}: {list(ours.shape)} and {list(other.shape)}"
    error = ((ours - other).abs().max() / other.abs().max()).item()
    if not error < TOLERANCE:
        raise AssertionError(f"{case}: results differ by {error:.2g} of the largest value")


def _as_tuple(results: Results) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
