"""Toilets, wash basins, bathtubs and shower curtains."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import glossy, pick, soft


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def toilet(rng: np.random.Generator) -> Prop:
    """Foot, bowl, seat and cistern."""
    w, d = _u(rng, 0.42, 0.50), _u(rng, 0.68, 0.78)
    seat = _u(rng, 0.40, 0.45)
    white, lid = glossy(rng), glossy(rng)
    prop = Prop(size=(w + 0.06, d, 0.95))
    one = prop.instance(nyu40.TOILET)
    at = (0.0, d - 0.27)
    prop.tube(one, white, (0.0, d - 0.32), (0.0, seat * 0.6), (0.13, 0.20), taper=1.1)
    prop.tube(one, white, at, (seat * 0.45, seat - 0.03), (0.14, 0.20), taper=1.35)
    prop.tube(one, lid, at, (seat - 0.03, seat + 0.03), (w / 2, 0.27))
    prop.box(one, white, (-0.13, 0.13), (0.05, d - 0.4), (0.12, seat - 0.04))
    top = seat + _u(rng, 0.36, 0.48)
    prop.box(one, white, (-w / 2, w / 2), (0.01, 0.19), (seat - 0.03, top))
    prop.box(one, lid, (-w / 2 - 0.02, w / 2 + 0.02), (0.0, 0.21), (top, top + 0.03))
    return prop


def wash_basin(rng: np.random.Generator) -> Prop:
    """A bowl with a thick rim on a pedestal, its tap at the wall."""
    w, d, h = _u(rng, 0.58, 0.80), _u(rng, 0.48, 0.58), _u(rng, 0.82, 0.90)
    white, steel = glossy(rng), pick(rng, "metal", "white")
    prop = Prop(size=(w, d, h + 0.2))
    one = prop.instance(nyu40.SINK)
    deep, rim = h - 0.16, 0.05
    prop.box(one, white, (-w / 2, w / 2), (0.0, d), (deep - 0.03, deep))
    for side in (-1, 1):
        outer, inner = side * w / 2, side * (w / 2 - rim)
        prop.box(one, white, (min(outer, inner), max(outer, inner)), (0.0, d), (deep, h))
    prop.box(one, white, (-w / 2, w / 2), (0.0, 0.12), (deep, h))
    prop.box(one, white, (-w / 2, w / 2), (d - rim, d), (deep, h))
    prop.tube(one, white, (0.0, d / 2), (deep - 0.14, deep), (w * 0.22, d * 0.25), taper=1.8)
    prop.tube(one, white, (0.0, d / 2 - 0.04), (0.0, deep - 0.03), 0.11, taper=0.85)
    prop.tube(one, steel, (0.0, 0.06), (h, h + 0.16), 0.025)
    prop.box(one, steel, (-0.025, 0.025), (0.05, 0.2), (h + 0.13, h + 0.17))
    return prop


def wavy_sheet(
    rng: np.random.Generator,
    x: tuple[float, float],
    y: float,
    z: tuple[float, float],
    amplitude: float,
    wavelength: float,
) -> np.ndarray:
    """A hanging cloth in folds: vertices [3, columns, 3] along x, swinging in y."""
    columns = max(8, int((x[1] - x[0]) / wavelength * 8))
    u = np.linspace(0.0, 1.0, columns)
    phase = 2 * np.pi * (x[1] - x[0]) / wavelength * u + float(rng.uniform(0, 6.3))
    phase = phase + 0.6 * np.sin(5.0 * u + float(rng.uniform(0, 6.3)))
    rows = []
    for share, z_at in ((0.6, z[1]), (1.0, (z[0] + z[1]) / 2), (1.1, z[0])):
        wave = y + amplitude * share * np.sin(phase)
        rows.append(np.stack([x[0] + (x[1] - x[0]) * u, wave, np.full(columns, z_at)], 1))
    return np.stack(rows)


def bathtub(rng: np.random.Generator, length: float) -> Prop:
    """A tub along the wall (its length on x), with a shower curtain along part of its open side."""
    d, h = _u(rng, 0.72, 0.82), _u(rng, 0.54, 0.62)
    white = glossy(rng)
    prop = Prop(size=(length, d + 0.08, 2.1))
    one = prop.instance(nyu40.BATHTUB)
    rim, half = 0.07, length / 2
    bottom = 0.16
    prop.box(one, white, (-half, half), (0.0, d), (0.0, bottom))
    for x in ((-half, -half + rim), (half - rim, half)):
        prop.box(one, white, x, (0.0, d), (bottom, h))
    for y in ((0.0, rim), (d - rim, d)):
        prop.box(one, white, (-half, half), y, (bottom, h))
    slope = 1 if rng.random() < 0.5 else -1
    prop.box(
        one, white, (slope * half * 0.78 - 0.05, slope * half * 0.78 + 0.05), (rim, d - rim),
        (bottom - 0.05, h - 0.08),
    )  # fmt: skip
    steel = pick(rng, "metal")
    prop.tube(one, steel, (-slope * (half - 0.1), d / 2), (h, h + 0.14), 0.03)
    cloth = prop.instance(nyu40.SHOWER_CURTAIN)
    share = _u(rng, 0.55, 0.8)
    start = -half if rng.random() < 0.5 else half - length * share
    top = _u(rng, 1.95, 2.1)
    grid = wavy_sheet(
        rng, (start, start + length * share), d + 0.02, (_u(rng, 0.15, 0.4), top), 0.055, 0.28
    )
    prop.sheet(cloth, soft(rng), grid)
    rod = prop.instance(nyu40.OTHER_PROP)
    prop.box(rod, steel, (-half, half), (d + 0.005, d + 0.035), (top, top + 0.03))
    return prop
