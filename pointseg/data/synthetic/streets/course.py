"""The line a street follows: gentle bends and slopes, and places given relative to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEP_M = 0.5


@dataclass(frozen=True)
class Course:
    """A smooth line in space, tabulated by arc length.

    Places beside it are given as (s, t): metres along the line and to its left. ``table`` float64
    [K, 5] has s, x, y, z and heading in radians, at equal steps of s.
    """

    table: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, start_m: float, end_m: float) -> Course:
        """A line from ``start_m`` to ``end_m`` with radii above 70 m and slopes below 4 %."""
        s = np.arange(start_m, end_m + _STEP_M, _STEP_M)
        heading = rng.uniform(0, 2 * np.pi) + _wave(rng, s, rng.uniform(0.05, 0.26), 120.0, 240.0)
        length = rng.uniform(90.0, 200.0)
        grade = rng.uniform(0.0, 0.035)
        z = grade * length / (2 * np.pi) * np.sin(2 * np.pi * s / length + rng.uniform(0, 6.28))
        x = np.cumsum(np.cos(heading)) * _STEP_M
        y = np.cumsum(np.sin(heading)) * _STEP_M
        return cls(np.stack([s, x, y, z, heading], 1))

    def at(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """x, y, z and heading [..., 4] of places, on the line's own level."""
        x, y, z, heading = (np.interp(s, self.table[:, 0], self.table[:, i]) for i in range(1, 5))
        return np.stack([x - t * np.sin(heading), y + t * np.cos(heading), z, heading], -1)

    def slope(self, s: float) -> float:
        """Rise per metre along the line."""
        low, high = np.interp([s - 1.0, s + 1.0], self.table[:, 0], self.table[:, 3])
        return float(high - low) / 2.0


def _wave(
    rng: np.random.Generator, s: np.ndarray, amplitude: float, shortest: float, longest: float
) -> np.ndarray:
    length, phase = rng.uniform(shortest, longest), rng.uniform(0, 2 * np.pi)
    return np.asarray(amplitude * np.sin(2 * np.pi * s / length + phase))
