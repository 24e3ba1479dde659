"""Activations that are not kept for the backward pass but computed again in it.

`recomputed` calls a function now, keeps its inputs alone, and calls it a second time when the
backward pass needs what lay between (Chen et al.: Training Deep Nets with Sublinear Memory Cost,
2016). The second pass computes the same numbers; it must not do again what the first one has done
to the outside: move running statistics, exchange sums with other ranks, report to somebody. Whoever
does such a thing in a forward pass wraps it in `once`.

Needs nothing of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


class _Pass:
    """The first or the second pass, while entered; the second one may be entered again."""

    def __init__(self, results: list[Any], is_second: bool) -> None:
        self.results = results
        self.is_second = is_second
        self.position = 0

    def __enter__(self) -> None:
        self.position = 0
        self._token: Token[_Pass | None] = _current.set(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.reset(self._token)


# Of this thread, as autocast is: the backward pass on a GPU runs in a thread of its own.
_current: ContextVar[_Pass | None] = ContextVar("pass", default=None)


def recomputed(function: Callable[..., T], *feats: Tensor) -> T:
    """``function(*feats)``, whose inner activations are computed again in the backward pass.

    The second pass runs under the autocast and from the random state of the first, so dropout masks
    are the same, and results and gradients have the bits that they have without.

    Raises RuntimeError, from inside the backward pass, where the second pass computes tensors of
    other shapes than the first. One inside another, or inside `torch.compile`, is refused:
    RuntimeError.
    """
    if torch.compiler.is_compiling():
        raise RuntimeError(
            "recomputed: torch.compile chooses by itself what is computed again; compile the model "
            "without checkpoint_activations"
        )
    if _current.get() is not None:
        raise RuntimeError("recomputed: the function is inside one that is computed again itself")
    results: list[Any] = []
    passes = _Pass(results, is_second=False), _Pass(results, is_second=True)
    out: T = checkpoint(function, *feats, use_reentrant=False, context_fn=lambda: passes)
    return out


def _running() -> _Pass | None:
    # What is being compiled is in no pass, and cannot ask.
    return None if torch.compiler.is_compiling() else _current.get()


def is_second_pass() -> bool:
    """Whether the backward pass is computing activations again."""
    current = _running()
    return current is not None and current.is_second


def once(effect: Callable[[], T]) -> T:
    """``effect()``; in a second pass what it returned in the first, without a call.

    What is returned is kept as it is: return copies of what changes later. Random numbers are to be
    drawn outside, since the second pass must draw as many as the first.
    """
    current = _running()
    if current is None:
        return effect()
    if not current.is_second:
        current.results.append(effect())
    result: T = current.results[current.position]
    current.position += 1
    return result
