"""A measurement with nothing beside it: where no other way of computing the same is at hand."""

from __future__ import annotations

import dataclasses

from pointseg.benchmark.report import Row


def row_alone(suite: str, case: str, unit: str, value: float) -> Row:
    """A row of ours only; the other way is called "-" and has no value and no ratio."""
    row = Row.compare(suite, case, unit, value, "-", value)
    return dataclasses.replace(row, other_value=None, ratio=None)
