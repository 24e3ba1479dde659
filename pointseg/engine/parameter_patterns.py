"""Patterns that name parameters of a model, such as ``encoder.*`` or ``*.bn.weight``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn


def first_matches(patterns: Sequence[str], model: nn.Module, key: str) -> dict[str, int]:
    """Name of every parameter that a pattern matches -> index of the first one that does.

    Patterns are those of shells, over the whole name: ``*`` is any text, dots included, ``?`` one
    character, ``[01]`` one of these. In the order of ``model.named_parameters()``. ``key`` is what
    messages call the list of patterns.

    Raises ValueError for a pattern that no parameter is left for, with the nearest name.
    """
    names = [name for name, _ in model.named_parameters()]
    matches: dict[str, int] = {}
    for index, pattern in enumerate(patterns):
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f"{key}[{index}]: {pattern!r} matches no parameter of the model; "
                f"{_nearest(pattern, names)}"
            )
        left = [name for name in matched if name not in matches]
        if not left:
            earlier = sorted({matches[name] for name in matched})
            raise ValueError(
                f"{key}[{index}]: all that {pattern!r} matches is taken by "
                f"{', '.join(repr(patterns[i]) for i in earlier)} before it; the first match wins: "
                "write the narrower pattern first"
            )
        matches |= dict.fromkeys(left, index)
    return {name: matches[name] for name in names if name in matches}


def _nearest(pattern: str, names: Sequence[str]) -> str:
    """What may have been meant: the parameters of a module, or one parameter."""
    if any(name.startswith(f"{pattern}.") for name in names):
        return f"did you mean '{pattern}.*', the parameters of that module?"
    nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
    return f"the nearest one is {nearest[0]!r}" if nearest else "it has none"
