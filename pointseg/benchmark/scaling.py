"""How time and memory grow with size: measured points, lines through them, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

OURS, PLAIN = "ours", "plain_torch"


@dataclass(frozen=True)
class Point:
    """One case at one size.

    Attributes:
        case: what was computed.
        engine: ``"ours"`` or ``"plain_torch"``.
        threads: it had.
        size: voxels, or points for `voxelize`.
        time_ms: median wall time.
        memory_mib: most that is allocated at once beyond the inputs.
    """

    case: str
    engine: str
    threads: int
    size: int
    time_ms: float
    memory_mib: float


@dataclass(frozen=True)
class Fit:
    """A line through the points of one case: ``value = offset + slope * size``.

    Attributes:
        case, engine, threads: of the points.
        quantity: ``"time"`` or ``"memory"``.
        offset: ms or MiB.
        slope: ns or bytes, for each voxel or point.
        deviation: of the line from the point it misses most, relative to the point.
    """

    case: str
    engine: str
    threads: int
    quantity: str
    offset: float
    slope: float
    deviation: float


# name of a quantity -> field of a point, unit of the offset, unit of the slope, slope units in one
QUANTITIES = {
    "time": ("time_ms", "ms", "ns", 1e6),
    "memory": ("memory_mib", "MiB", "bytes", 2.0**20),
}


def fit_line(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """Offset, slope and largest relative deviation of the line with the least squares of relative
    residuals: with absolute ones the largest sizes alone would decide.

    Raises ValueError for fewer than two different sizes.
    """
    if len(set(sizes)) < 2:
        raise ValueError(f"sizes: expected two different ones at least, got {list(sizes)}")
    x, y = np.asarray(sizes, dtype=float), np.asarray(values, dtype=float)
    scale = x.max()  # both columns of about the same size
    columns = np.stack([1 / y, x / scale / y], axis=1)
    (offset, slope), *_ = np.linalg.lstsq(columns, np.ones_like(y), rcond=None)
    line = offset + slope * x / scale
    return float(offset), float(slope / scale), float(np.abs(line / y - 1).max())


def fits(points: Sequence[Point]) -> Iterator[Fit]:
    """A line for each case, engine and number of threads that has two sizes or more."""
    for quantity, (field, _, _, factor) in QUANTITIES.items():
        for key in curve_keys(points):
            curve = curve_of(points, key)
            if len({p.size for p in curve}) > 1:
                sizes = [p.size for p in curve]
                offset, slope, deviation = fit_line(sizes, [getattr(p, field) for p in curve])
                yield Fit(*key, quantity, offset, slope * factor, deviation)


def curve_keys(points: Sequence[Point]) -> list[tuple[str, str, int]]:
    """(case, engine, threads) of all curves, in the order of their first points."""
    return list(dict.fromkeys((p.case, p.engine, p.threads) for p in points))


def curve_of(points: Sequence[Point], key: tuple[str, str, int]) -> list[Point]:
    """The points of one curve."""
    return [p for p in points if (p.case, p.engine, p.threads) == key]


def fit_table(lines: Sequence[Fit]) -> str:
    """The lines as a markdown table."""
    rows = [
        "| case | engine | threads | quantity | offset | slope | furthest point |",
        "|---|---|---:|---|---:|---:|---:|",
    ]
    for fit in lines:
        _, unit, slope_unit, _ = QUANTITIES[fit.quantity]
        each = "point" if fit.case == "voxelize" else "voxel"
        rows.append(
            f"| {fit.case} | {fit.engine} | {fit.threads} | {fit.quantity} | "
            f"{fit.offset:.3f} {unit} | {fit.slope:.4g} {slope_unit}/{each} | "
            f"{100 * fit.deviation:.0f} % |"
        )
    return "\n".join(rows) + "\n"


def point_table(points: Sequence[Point]) -> str:
    """The measured points as a markdown table."""
    rows = [
        "| case | size | engine | threads | time, ms | memory, MiB |",
        "|---|---:|---|---:|---:|---:|",
    ]
    rows += [
        f"| {p.case} | {p.size:,} | {p.engine} | {p.threads} | {p.time_ms:.4g} | "
        f"{p.memory_mib:.4g} |"
        for p in sorted(points, key=lambda p: p.case)
    ]
    return "\n".join(rows) + "\n"
