"""Tables, desks and kitchen counters."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.clutter import scatter_on
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import glossy, hard, pick
from pointseg.data.synthetic.seating import chair
from pointseg.data.synthetic.storage import fronts


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _rectangular_table(prop: Prop, rng: np.random.Generator, w: float, d: float, h: float) -> None:
    one = prop.instance(nyu40.TABLE)
    top, legs = hard(rng), hard(rng)
    thick, leg = _u(rng, 0.04, 0.06), _u(rng, 0.03, 0.045)
    prop.box(one, top, (-w / 2, w / 2), (0.0, d), (h - thick, h))
    inset = _u(rng, 0.05, 0.12)
    for x in (-w / 2 + inset, w / 2 - inset):
        for y in (inset, d - inset):
            prop.box(one, legs, (x - leg, x + leg), (y - leg, y + leg), (0.0, h - thick))


def _round_table(prop: Prop, rng: np.random.Generator, radius: float, h: float) -> None:
    one = prop.instance(nyu40.TABLE)
    top, foot = hard(rng), hard(rng)
    prop.tube(one, top, (0.0, radius), (h - 0.05, h), radius)
    prop.tube(one, foot, (0.0, radius), (0.04, h - 0.04), 0.07)
    prop.tube(one, foot, (0.0, radius), (0.0, 0.06), radius * 0.55, taper=0.8)


def coffee_table(rng: np.random.Generator) -> Prop:
    """A low table, with things on it."""
    w, d, h = _u(rng, 0.9, 1.25), _u(rng, 0.5, 0.7), _u(rng, 0.38, 0.48)
    prop = Prop(size=(w, d, h + 0.3))
    _rectangular_table(prop, rng, w, d, h)
    scatter_on(prop, rng, (-w / 2, w / 2), (0.0, d), h, int(rng.integers(0, 4)))
    return prop


def dining_group(rng: np.random.Generator, seats: int) -> Prop:
    """A table in free space with chairs around it, some pulled out."""
    h = _u(rng, 0.70, 0.77)
    reach = 0.42
    if rng.random() < 0.35:
        w = d = 2 * _u(rng, 0.48, 0.62)
        table = Prop()
        _round_table(table, rng, w / 2, h)
        spots = [(w / 2 * float(np.cos(a)), w / 2 * float(np.sin(a)), a) for a in _around(seats)]
    else:
        w, d = _u(rng, 1.15, 1.75), _u(rng, 0.78, 0.98)
        table = Prop()
        _rectangular_table(table, rng, w, d, h)
        spots = [
            (w / 4, d / 2, np.pi / 2), (-w / 4, -d / 2, -np.pi / 2), (-w / 4, d / 2, np.pi / 2),
            (w / 4, -d / 2, -np.pi / 2), (w / 2, 0.0, 0.0), (-w / 2, 0.0, np.pi),
        ][:seats]  # fmt: skip
    scatter_on(table, rng, (-w / 2, w / 2), (0.0, d), h, int(rng.integers(0, 4)), shrink=0.6)
    prop = Prop(size=(w + 2 * reach, d + 2 * reach, 1.0))
    middle = d / 2 + reach
    prop.add(table, (0.0, reach, 0.0))
    for x, y, direction in spots:
        out = _u(rng, 0.02, 0.16)
        turn = float(direction) + np.pi / 2 + _u(rng, -0.3, 0.3)
        seat = chair(rng)
        # The chair's open side faces the table: its origin (the back) lies outwards.
        away = out + 0.24
        at = (x + away * float(np.cos(direction)), y + away * float(np.sin(direction)))
        prop.add(seat, (at[0], at[1] + middle, 0.0), turn)
    return prop


def conference_table(rng: np.random.Generator, seats: int) -> Prop:
    """A long table with office chairs along both sides."""
    each = -(-seats // 2)
    w, d, h = _u(rng, 0.62, 0.72) * each + 0.2, _u(rng, 0.95, 1.25), _u(rng, 0.71, 0.76)
    reach = 0.62
    table = Prop()
    _rectangular_table(table, rng, w, d, h)
    scatter_on(table, rng, (-w / 2, w / 2), (0.0, d), h, int(rng.integers(0, 4)), shrink=0.8)
    prop = Prop(size=(w + 0.1, d + 2 * reach, 1.0))
    prop.add(table, (0.0, reach, 0.0))
    for seat in range(seats):
        x = (seat // 2 + 0.5) / each * w - w / 2
        away, turn = _u(rng, 0.26, 0.4), _u(rng, -0.3, 0.3)
        if seat % 2:
            prop.add(chair(rng, office=True), (x, reach + d + away, 0.0), np.pi + turn)
        else:
            prop.add(chair(rng, office=True), (x, reach - away, 0.0), turn)
    return prop


def _around(count: int) -> np.ndarray:
    return np.arange(count) * (2 * np.pi / max(count, 1)) + 0.4


def desk(rng: np.random.Generator) -> Prop:
    """Work top on a drawer unit and a side panel, closed at the back; monitor and office chair."""
    w, d, h = _u(rng, 1.3, 1.7), _u(rng, 0.64, 0.80), _u(rng, 0.72, 0.77)
    top, body = hard(rng), hard(rng)
    seat_room = 0.75
    prop = Prop(size=(w, d + seat_room, h + 0.5))
    one = prop.instance(nyu40.DESK)
    side = 1 if rng.random() < 0.5 else -1
    prop.box(one, top, (-w / 2, w / 2), (0.0, d), (h - 0.045, h))

    def span(a: float, b: float) -> tuple[float, float]:
        return (min(side * a, side * b), max(side * a, side * b))

    prop.box(one, body, span(-w / 2, -w / 2 + 0.05), (0.02, d - 0.03), (0.0, h - 0.04))
    prop.box(one, body, (-w / 2, w / 2), (0.03, 0.07), (_u(rng, 0.08, 0.25), h - 0.04))
    unit = span(w / 2 - _u(rng, 0.38, 0.46), w / 2)
    prop.box(one, body, unit, (0.03, d - 0.05), (0.03, h - 0.04))
    fronts(prop, one, rng, unit, d - 0.05, (0.03, h - 0.05), 1, 3, body, pick(rng, "metal", "wood"))
    screen = prop.instance(nyu40.OTHER_PROP)
    dark = pick(rng, "metal").shade(0.4)
    x, wide = _u(rng, -0.2, 0.2) * w, _u(rng, 0.24, 0.32)
    prop.box(screen, dark, (x - wide, x + wide), (0.16, 0.20), (h + 0.1, h + 0.46))
    prop.box(screen, dark, (x - 0.1, x + 0.1), (0.12, 0.28), (h, h + 0.12))
    prop.box(screen, dark, (x - 0.22, x + 0.22), (0.4, 0.54), (h, h + 0.03))
    scatter_on(prop, rng, (-w / 2, w / 2), (0.0, d), h, int(rng.integers(1, 4)), shrink=0.9)
    if rng.random() < 0.85:
        x = -side * 0.15 + _u(rng, -0.1, 0.1)
        prop.add(chair(rng, office=True), (x, d + 0.60, 0.0), np.pi + _u(rng, -0.5, 0.5))
    return prop


def counter(rng: np.random.Generator, width: float, with_sink: bool) -> Prop:
    """A long work top over closed fronts and a set-back plinth, with a sink cut into it."""
    d, h, thick = _u(rng, 0.60, 0.66), _u(rng, 0.88, 0.95), 0.04
    body, top, handle = hard(rng), hard(rng), pick(rng, "metal", "wood")
    prop = Prop(size=(width, d, h + 0.35))
    one = prop.instance(nyu40.COUNTER)
    half = width / 2
    prop.box(one, body, (-half, half), (0.0, d - 0.17), (0.0, 0.12))
    x = _u(rng, -half + 0.5, half - 0.5) if with_sink else 0.0
    hole_x, hole_y = (x - 0.30, x + 0.30), (0.12, d - 0.12)
    front = d - 0.08
    if with_sink:
        prop.box(one, body, (-half, hole_x[0]), (0.0, front), (0.12, h - thick))
        prop.box(one, body, (hole_x[1], half), (0.0, front), (0.12, h - thick))
        prop.box(one, body, hole_x, (hole_y[1], front), (0.12, h - thick))
        prop.box(one, body, hole_x, (0.0, hole_y[1]), (0.12, h - 0.26))
        prop.box(one, top, (-half, hole_x[0]), (0.0, d), (h - thick, h))
        prop.box(one, top, (hole_x[1], half), (0.0, d), (h - thick, h))
        prop.box(one, top, hole_x, (0.0, hole_y[0]), (h - thick, h))
        prop.box(one, top, hole_x, (hole_y[1], d), (h - thick, h))
        _basin(prop, rng, hole_x, hole_y, h)
    else:
        prop.box(one, body, (-half, half), (0.0, front), (0.12, h - thick))
        prop.box(one, top, (-half, half), (0.0, d), (h - thick, h))
    columns = max(2, round(width / 0.5))
    fronts(prop, one, rng, (-half, half), front, (0.12, h - thick), columns, 1, body, handle)
    prop.box(one, top, (-half, half), (0.0, 0.04), (h, h + 0.22))
    spans = [(-half, hole_x[0]), (hole_x[1], half)] if with_sink else [(-half, half)]
    for span in spans:
        if span[1] - span[0] > 0.4:
            count = int(rng.integers(0, 3))
            scatter_on(prop, rng, span, (0.05, d - 0.1), h, count, kitchen=True)
    return prop


def _basin(
    prop: Prop,
    rng: np.random.Generator,
    x: tuple[float, float],
    y: tuple[float, float],
    h: float,
) -> None:
    """A sunk kitchen sink with a raised rim and a tap."""
    one = prop.instance(nyu40.SINK)
    steel = glossy(rng)
    deep, rim = h - 0.24, 0.03
    prop.box(one, steel, x, y, (deep - 0.02, deep))
    for xs in ((x[0], x[0] + rim), (x[1] - rim, x[1])):
        prop.box(one, steel, xs, y, (deep, h + 0.02))
    for ys in ((y[0], y[0] + rim), (y[1] - rim, y[1])):
        prop.box(one, steel, x, ys, (deep, h + 0.02))
    middle = (x[0] + x[1]) / 2
    prop.tube(one, steel, (middle, y[0] - 0.03), (h, h + 0.26), 0.025)
    prop.box(
        one, steel, (middle - 0.025, middle + 0.025), (y[0] - 0.03, y[0] + 0.16),
        (h + 0.24, h + 0.28),
    )  # fmt: skip
