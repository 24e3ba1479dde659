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
    def other_threads(self) -> tuple[int, ...]:
        return tuple(sorted({1, self.threads}))


@dataclass(frozen=True)
class Case:
    """One computation in two ways, of which the results are to agree.

    Attributes:
        suite, name: of its rows.
        ours, other: functions of `inputs`.
        inputs: what gradients are taken of, float.
        other_name: what the other way is called in the rows.
        shown: what of a result is compared, where two right results can differ.
        is_same: whether both compute the same; not so for blocks of two networks.
    """

    suite: str
    name: str
    ours: Function
    other: Function
    inputs: tuple[Tensor, ...]
    other_name: str = "plain_torch"
    shown: Callable[[Tensor], Tensor] | None = None
    is_same: bool = True

    def forward(self, options: Options) -> Iterator[Row]:
        """Time of the forward pass, without autograd."""

        def call(function: Function) -> Tensor:
            with torch.no_grad():
                return function(*self.inputs)

        yield self._time(options, lambda: call(self.ours), lambda: call(self.other))

    def forward_backward(self, options: Options, memory: bool = True) -> Iterator[Row]:
        """Time of the forward pass and the gradients of all inputs, and what they allocate."""
        inputs = tuple(x.detach().requires_grad_() for x in self.inputs)
        with torch.no_grad():
            shape = self.ours(*self.inputs).shape
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))

        def call(function: Function) -> tuple[Tensor, ...]:
            out = function(*inputs)
            return (out.detach(), *torch.autograd.grad(out, inputs, grad))

        yield self._time(options, lambda: call(self.ours), lambda: call(self.other))
        if memory:
            yield Row.compare(
                f"{self.suite}_memory",
                self.name,
                "MiB",
                peak_mib(lambda: call(self.ours)),
                self.other_name,
                peak_mib(lambda: call(self.other)),
            )

    def _time(
        self, options: Options, ours: Callable[[], Results], other: Callable[[], Results]
    ) -> Row:
        if self.is_same:
            shown = self.shown or (lambda result: result)
            pairs = zip(_as_tuple(ours()), _as_tuple(other()), strict=True)
            for a, b in pairs:
                check_equal(self.name, shown(a), shown(b))
        with threads(options.threads):
            our_ms = median_ms(ours, options.repeats)
        other_ms = best_ms(other, options.repeats, options.other_threads)
        return Row.compare(self.suite, self.name, "ms", our_ms, self.other_name, other_ms)


def check_equal(case: str, ours: Tensor, other: Tensor) -> None:
    """A time is worth nothing if the two compute different things."""
    assert ours.shape == other.shape, f"{case}: {list(ours.shape)} and {list(other.shape)}"
    error = ((ours - other).abs().max() / other.abs().max()).item()
    if not error < TOLERANCE:
        raise AssertionError(f"{case}: results differ by {error:.2g} of the largest value")


def _as_tuple(results: Results) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
