"""Cabinets, bookshelves, refrigerators and clothes racks."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import Material, glossy, hard, pick, soft


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def fronts(
    prop: Prop,
    one: int,
    rng: np.random.Generator,
    x: tuple[float, float],
    y: float,
    z: tuple[float, float],
    columns: int,
    rows: int,
    material: Material,
    handle: Material,
) -> None:
    """A grid of door or drawer fronts at depth y, proud by 2 cm, with gaps and bar handles."""
    step_x, step_z = (x[1] - x[0]) / columns, (z[1] - z[0]) / rows
    drawers = step_x > step_z
    for i in range(columns):
        for k in range(rows):
            x0, z0 = x[0] + i * step_x, z[0] + k * step_z
            prop.box(
                one,
                material,
                (x0 + 0.012, x0 + step_x - 0.012),
                (y, y + 0.022),
                (z0 + 0.012, z0 + step_z - 0.012),
            )
            middle_x, middle_z = x0 + step_x / 2, z0 + step_z / 2
            if drawers:
                bar = (middle_x - 0.08, middle_x + 0.08), (middle_z - 0.012, middle_z + 0.012)
            else:
                edge = x0 + (step_x - 0.06 if i % 2 == 0 else 0.06)
                bar = (edge - 0.012, edge + 0.012), (middle_z - 0.09, middle_z + 0.09)
            prop.box(one, handle, bar[0], (y + 0.022, y + 0.055), bar[1])


def cabinet(rng: np.random.Generator, kind: str = "low") -> Prop:
    """A closed case with doors or drawers: ``low``, ``tall`` (wardrobe) or ``narrow``."""
    if kind == "tall":
        w, d, h = _u(rng, 0.95, 1.6), _u(rng, 0.52, 0.62), _u(rng, 1.85, 2.15)
        columns, rows = (2 if w < 1.25 else 3), 1
    elif kind == "narrow":
        w, d, h = _u(rng, 0.42, 0.6), _u(rng, 0.32, 0.42), _u(rng, 1.2, 1.7)
        columns, rows = 1, 2
    else:
        w, d, h = _u(rng, 0.8, 1.5), _u(rng, 0.40, 0.52), _u(rng, 0.72, 1.15)
        columns, rows = (2 if w < 1.2 else 3), int(rng.integers(1, 4))
    body, handle = hard(rng), pick(rng, "metal", "wood")
    front = body if rng.random() < 0.5 else hard(rng)
    prop = Prop(size=(w + 0.06, d + 0.02, h))
    one = prop.instance(nyu40.CABINET)
    plinth = _u(rng, 0.10, 0.17)
    for x in (-w / 2 + 0.05, w / 2 - 0.05):
        for y in (0.05, d - 0.11):
            prop.box(one, body, (x - 0.03, x + 0.03), (y - 0.03, y + 0.03), (0.0, plinth))
    prop.box(one, body, (-w / 2, w / 2), (0.0, d - 0.055), (plinth, h - 0.03))
    prop.box(one, body, (-w / 2 - 0.03, w / 2 + 0.03), (0.0, d + 0.02), (h - 0.05, h))
    fronts(
        prop, one, rng, (-w / 2, w / 2), d - 0.055, (plinth, h - 0.03), columns, rows, front, handle
    )
    return prop


def wall_cabinet(rng: np.random.Generator, width: float) -> Prop:
    """A row of kitchen cupboards that hangs above a counter."""
    low = _u(rng, 1.42, 1.52)
    h, d = _u(rng, 0.6, 0.75), _u(rng, 0.32, 0.38)
    prop = Prop(size=(width, d, low + h))
    one = prop.instance(nyu40.CABINET)
    body, handle = hard(rng), pick(rng, "metal", "wood")
    prop.box(one, body, (-width / 2, width / 2), (0.0, d - 0.04), (low, low + h))
    columns = max(2, round(width / 0.5))
    fronts(
        prop, one, rng, (-width / 2, width / 2), d - 0.04, (low, low + h), columns, 1, body, handle
    )
    return prop


def _book_rows(
    prop: Prop, one: int, rng: np.random.Generator, x: tuple[float, float], d: float, z: float,
    room: float,
) -> None:  # fmt: skip
    """Runs of upright books on one board; some boards stay half empty."""
    at = x[0] + 0.01
    while at < x[1] - 0.06:
        run = min(_u(rng, 0.05, 0.2), x[1] - 0.01 - at)
        if rng.random() < 0.78:
            front = d - _u(rng, 0.02, 0.09)
            top = z + room * _u(rng, 0.55, 0.92)
            prop.box(one, soft(rng), (at, at + run), (0.03, front), (z, top))
        at += run + 0.004


def bookshelf(rng: np.random.Generator) -> Prop:
    """An open case with boards 30-40 cm apart, filled with books of many colours."""
    w, d, h = _u(rng, 0.75, 1.35), _u(rng, 0.28, 0.36), _u(rng, 1.45, 2.1)
    body = hard(rng)
    prop = Prop(size=(w, d, h))
    one = prop.instance(nyu40.BOOKSHELF)
    prop.box(one, body, (-w / 2, w / 2), (0.0, 0.02), (0.0, h))
    bays = 1 if w < 1.05 else 2
    for i in range(bays + 1):
        x = -w / 2 + 0.015 + (w - 0.03) * i / bays
        prop.box(one, body, (x - 0.015, x + 0.015), (0.0, d), (0.0, h))
    boards = max(4, round(h / 0.36))
    step = (h - 0.03) / boards
    for k in range(boards + 1):
        z = step * k
        prop.box(one, body, (-w / 2, w / 2), (0.0, d), (z, z + 0.03))
        if k == boards:
            continue
        for i in range(bays):
            x0 = -w / 2 + 0.03 + (w - 0.03) * i / bays
            x1 = x0 + (w - 0.03) / bays - 0.03
            _book_rows(prop, one, rng, (x0, x1), d, z + 0.03, step - 0.03)
    return prop


def refrigerator(rng: np.random.Generator) -> Prop:
    """Two bulging doors above each other, a deep joint between them, stand-off handles."""
    w, d, h = _u(rng, 0.65, 0.85), _u(rng, 0.74, 0.84), _u(rng, 1.5, 1.85)
    body, handle = glossy(rng), pick(rng, "metal", "white")
    prop = Prop(size=(w, d + 0.06, h))
    one = prop.instance(nyu40.REFRIGERATOR)
    split = h * (_u(rng, 0.30, 0.40) if rng.random() < 0.5 else _u(rng, 0.60, 0.70))
    side = 1 if rng.random() < 0.5 else -1
    bulge = _u(rng, 0.14, 0.20)
    prop.box(one, body, (-w / 2, w / 2), (0.0, d - bulge), (0.03, h))
    for z0, z1 in ((0.06, split - 0.035), (split + 0.035, h)):
        prop.tube(one, body, (0.0, d - bulge), (z0, z1), (w / 2, bulge))
        long = min(0.5, (z1 - z0) * 0.7)
        base = z1 - 0.06 - long if z1 < h else z0 + 0.06
        x = side * (w / 2 - 0.14)
        prop.box(one, handle, (x - 0.02, x + 0.02), (d - 0.02, d + 0.06), (base, base + long))
    return prop


def clothes_rack(rng: np.random.Generator) -> Prop:
    """Two posts, a rail and garments hanging across it (class otherfurniture)."""
    w, h = _u(rng, 1.0, 1.4), _u(rng, 1.5, 1.7)
    depth = 0.5
    metal = pick(rng, "metal", "wood")
    prop = Prop(size=(w + 0.06, depth, h + 0.05))
    one = prop.instance(nyu40.OTHER_FURNITURE)
    for x in (-w / 2, w / 2):
        prop.box(
            one, metal, (x - 0.025, x + 0.025), (depth / 2 - 0.025, depth / 2 + 0.025), (0.0, h)
        )
        prop.box(one, metal, (x - 0.025, x + 0.025), (0.02, depth - 0.02), (0.0, 0.05))
    prop.box(
        one, metal, (-w / 2, w / 2), (depth / 2 - 0.02, depth / 2 + 0.02), (h - 0.02, h + 0.02)
    )
    at = -w / 2 + 0.1
    while at < w / 2 - 0.1:
        half = _u(rng, 0.18, 0.24)
        prop.box(
            one,
            soft(rng),
            (at - 0.025, at + 0.025),
            (depth / 2 - half, depth / 2 + half),
            (h - _u(rng, 0.75, 1.15), h - 0.06),
            yaw=_u(rng, -0.15, 0.15),
        )
        at += _u(rng, 0.10, 0.2)
    return prop


def night_stand(rng: np.random.Generator) -> Prop:
    """A small ignored case beside a bed, often with a lamp."""
    w, d, h = _u(rng, 0.38, 0.5), _u(rng, 0.36, 0.44), _u(rng, 0.42, 0.6)
    prop = Prop(size=(w, d, h + 0.4))
    one = prop.instance(nyu40.NIGHT_STAND)
    prop.box(one, hard(rng), (-w / 2, w / 2), (0.0, d - 0.02), (0.05, h))
    if rng.random() < 0.7:
        lamp = prop.instance(nyu40.LAMP)
        prop.tube(lamp, hard(rng), (0.0, d / 2), (h, h + 0.18), 0.04)
        prop.tube(lamp, soft(rng), (0.0, d / 2), (h + 0.15, h + 0.38), 0.13, taper=0.7)
    return prop
