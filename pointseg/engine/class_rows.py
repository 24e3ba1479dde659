"""Weights of a model with other classes: what it knows of a class is taken over by its name.

The rest of a state dict does not depend on the classes, and is loaded as any other.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class ClassMatch:
    """Which classes of a model the stored weights know."""

    names: tuple[str, ...]
    """Classes of the model."""
    stored_names: tuple[str, ...]
    """Classes of the weights."""
    rows: tuple[int | None, ...]
    """For every class of the model its index in ``stored_names``, None where it has none."""

    @property
    def num_known(self) -> int:
        return sum(row is not None for row in self.rows)

    @property
    def headline(self) -> str:
        """One line: which classes are taken over, which begin anew."""
        pairs = list(zip(self.names, self.rows, strict=True))
        known = [_pair(name, self.stored_names[row]) for name, row in pairs if row is not None]
        fresh = [name for name, row in pairs if row is None]
        text = f"{len(known)} of {len(self.names)} classes taken over: {', '.join(known)}"
        return f"{text}; fresh: {', '.join(fresh)}" if fresh else text


def match_classes(
    names: Sequence[str], stored_names: Sequence[str], renamed: Mapping[str, str] | None = None
) -> ClassMatch:
    """Pair the classes of a model with those of stored weights by their names.

    Case, and whether words are joined by space, ``_`` or ``-``, do not matter. ``renamed``: classes
    of the model that are called otherwise there, such as ``{"couch": "sofa"}``.

    Raises ValueError for a name in ``renamed`` that is no class, and if no class is known.
    """
    given = dict(renamed or {})
    for word, known, whose in (
        *((name, names, "the model") for name in given),
        *((name, stored_names, "the weights") for name in given.values()),
    ):
        if word not in known:
            nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
            raise ValueError(f"{word!r} is no class of {whose}; the nearest one is {nearest[0]!r}")
    index = {_plain(name): i for i, name in enumerate(stored_names)}
    if len(index) < len(stored_names):
        raise ValueError(
            f"the weights have classes of one name in two spellings: {', '.join(stored_names)}"
        )
    rows = tuple(index.get(_plain(given.get(name, name))) for name in names)
    match = ClassMatch(tuple(names), tuple(stored_names), rows)
    if not match.num_known:
        raise ValueError(
            f"none of the classes {', '.join(names)} is among those of the weights, "
            f"{', '.join(stored_names)}; name pairs, or leave the head as it is initialised"
        )
    return match


def class_axes(build: Callable[[int], nn.Module]) -> dict[str, int]:
    """Entries of a model's state dict that have a row a class -> the axis of the classes.

    ``build(num_classes)`` builds the model. Two numbers of classes are tried, without storage.
    """
    with torch.device("meta"):
        small, large = build(2).state_dict(), build(3).state_dict()
    axes = {}
    for name, value in small.items():
        sizes = zip(value.shape, large[name].shape, strict=True)
        differing = [axis for axis, (a, b) in enumerate(sizes) if a != b]
        if differing:
            (axes[name],) = differing
    return axes


def take_over_classes(
    model: nn.Module, weights: Mapping[str, Any], axes: Mapping[str, int], match: ClassMatch
) -> dict[str, Any]:
    """``weights`` with the classes of ``model``: rows of classes that both know are the stored
    ones, the others those that the model has now.

    ``axes``: of :func:`class_axes`. Entries that are missing in the weights, or differ in more than
    their classes, are left as they are, for the loading to report.

    Raises ValueError where the weights have another number of rows than ``match`` has classes.
    """
    own = model.state_dict()
    taken = dict(weights)
    pairs = [(i, row) for i, row in enumerate(match.rows) if row is not None]
    for name, axis in axes.items():
        stored, fresh = weights.get(name), own[name]
        if stored is None or _without(stored.shape, axis) != _without(fresh.shape, axis):
            continue
        if stored.shape[axis] != len(match.stored_names):
            raise ValueError(
                f"{name} has {stored.shape[axis]} rows along axis {axis}, but the weights are said "
                f"to have {len(match.stored_names)} classes"
            )
        here, there = (torch.tensor(rows) for rows in zip(*pairs, strict=True))
        rows = stored.index_select(axis, there.to(stored.device)).to(fresh)
        taken[name] = fresh.index_copy(axis, here.to(fresh.device), rows)
    return taken


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _pair(name: str, stored: str) -> str:
    return name if _plain(name) == _plain(stored) else f"{name} (from {stored})"
