"""Straight lines through measurements: whether a cost grows with the input and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LinearFit:
    """``y = intercept + slope * x`` by least squares.

    Attributes:
        slope, intercept: of the line.
        r_squared: share of the variance of y that the line explains; 1 where y does not vary.
    """

    slope: float
    intercept: float
    r_squared: float


def linear_fit(x: Sequence[float], y: Sequence[float]) -> LinearFit:
    """The line through two points or more; ValueError for fewer, or where all x are the same."""
    if len(x) != len(y) or len(set(x)) < 2:
        raise ValueError(
            f"x, y: expected as many, at two places at least, got {list(x)}, {list(y)}"
        )
    at, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    offset = at - at.mean()
    slope = float(offset @ values / (offset @ offset))
    intercept = float(values.mean() - slope * at.mean())
    residual = values - (intercept + slope * at)
    spread = values - values.mean()
    variance = float(spread @ spread)
    r_squared = 1 - float(residual @ residual) / variance if variance > 0 else 1.0
    return LinearFit(slope, intercept, r_squared)
