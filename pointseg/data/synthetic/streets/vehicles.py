"""Cars, vans, lorries, buses and trailers, +x ahead and the origin on the ground at the middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import Material
from pointseg.data.synthetic.streets import raw_ids
from pointseg.data.synthetic.streets.materials import Palette


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def loft(
    prop: Prop, one: int, material: Material, sides: Material,
    profile: Sequence[tuple[float, float, float]], low: tuple[float, float],
) -> None:  # fmt: skip
    """A closed body under a line of (x, z, half width) from front to rear.

    ``low`` is the height and half width of its lower edge; the top is of ``material``, the flanks
    are of ``sides``.
    """
    x, z, wide = np.array(profile).T
    left, right = np.stack([x, wide, z], 1), np.stack([x, -wide, z], 1)
    prop.sheet(one, material, np.stack([left, right], 1))
    for edge, sign in ((left, 1.0), (right, -1.0)):
        bottom = np.stack([x, np.full_like(x, sign * low[1]), np.full_like(x, low[0])], 1)
        prop.sheet(one, sides, np.stack([edge, bottom], 1))
    for end in (0, -1):
        ends = [
            [(x[end], w, h) for w in (-half, half)] for half, h in ((wide[end], z[end]), low[::-1])
        ]
        prop.sheet(one, material, np.array(ends))


def wheels(
    prop: Prop, one: int, material: Material, axles: Sequence[float], half: float, radius: float
) -> None:
    """A pair of wheels at every axle."""
    for x in axles:
        for side in (-1.0, 1.0):
            start, end = (x, side * (half - 0.22), radius), (x, side * half, radius)
            prop.rod(one, material, start, end, radius)


def car(rng: np.random.Generator, palette: Palette) -> Prop:
    """A hatchback, saloon, estate or off-road car."""
    prop = Prop()
    one = prop.instance(raw_ids.CAR)
    paint, glass = palette.pick(rng, "painted", "painted", "metal"), palette.pick(rng, "glass")
    half_l, half_w = _u(rng, 1.85, 2.4), _u(rng, 0.82, 0.95)
    height, belt = _u(rng, 1.38, 1.75), _u(rng, 0.80, 1.0)
    boot = _u(rng, 0.0, 0.75) if rng.random() < 0.5 else 0.05
    hood = half_l - _u(rng, 0.9, 1.3)
    slope, roof_w = _u(rng, 0.45, 0.8), half_w * _u(rng, 0.72, 0.85)
    body = [
        (half_l, 0.5, half_w * 0.85), (half_l - 0.12, belt - 0.2, half_w * 0.9),
        (hood, belt, half_w), (-half_l + boot, belt, half_w), (-half_l, belt - 0.05, half_w * 0.9),
    ]  # fmt: skip
    loft(prop, one, paint, paint, body, (0.22, half_w))
    front, rear = hood - slope, -half_l + boot + _u(rng, 0.15, 0.5)
    cabin = [
        (hood, belt, half_w * 0.95), (front, height, roof_w), (rear, height - 0.04, roof_w),
        (-half_l + boot, belt, half_w * 0.95),
    ]  # fmt: skip
    loft(prop, one, glass, glass, cabin, (belt, half_w * 0.98))
    roof = [(front + 0.05, height + 0.01, roof_w), (rear - 0.05, height - 0.02, roof_w)]
    loft(prop, one, paint, paint, roof, (height - 0.06, roof_w))
    for x in (front - 0.6, front - 1.4):  # pillars
        for side in (-1.0, 1.0):
            prop.rod(one, paint, (x, side * half_w * 0.98, belt), (x, side * roof_w, height), 0.05)
    axle = half_l * 0.62
    wheels(
        prop, one, palette.pick(rng, "rubber"), (-axle, axle), half_w + 0.01, _u(rng, 0.29, 0.36)
    )
    shine = palette.pick(rng, "reflector", "painted")
    for side in (-1.0, 1.0):
        y = side * half_w * 0.7
        prop.box(one, shine, (-half_l - 0.02, -half_l), (y - 0.12, y + 0.12), (0.6, 0.75))
    prop.box(
        one, palette.pick(rng, "reflector"), (-half_l - 0.03, -half_l), (-0.26, 0.26), (0.4, 0.52)
    )
    return prop


def truck(rng: np.random.Generator, palette: Palette) -> Prop:
    """A lorry: a cab, and a box, a flat bed or a tipper behind it."""
    prop = Prop()
    one = prop.instance(raw_ids.TRUCK)
    paint, glass = palette.pick(rng, "painted"), palette.pick(rng, "glass")
    load = palette.pick(rng, "painted", "metal", "wood")
    half_l, half_w = _u(rng, 3.0, 4.6), _u(rng, 1.05, 1.25)
    cab, top = half_l - _u(rng, 1.5, 2.1), _u(rng, 2.3, 3.0)
    prop.box(one, paint, (cab, half_l), (-half_w * 0.95, half_w * 0.95), (0.45, 1.3))
    loft(
        prop, one, glass, glass,
        [(half_l, 1.3, half_w * 0.95), (half_l - 0.2, top, half_w * 0.85), (cab, top, half_w)],
        (1.3, half_w * 0.95),
    )  # fmt: skip
    prop.box(
        one, paint, (cab, half_l - 0.25), (-half_w * 0.9, half_w * 0.9), (top - 0.1, top + 0.05)
    )
    prop.box(one, paint, (cab, cab + 0.5), (-half_w * 0.96, half_w * 0.96), (1.2, top))
    bed, back = _u(rng, 0.9, 1.15), cab - 0.15
    prop.box(one, load, (-half_l, back), (-half_w, half_w), (bed - 0.15, bed))
    kind = rng.random()
    if kind < 0.6:
        prop.box(one, load, (-half_l, back), (-half_w, half_w), (bed, _u(rng, 2.6, 3.8)))
    elif kind < 0.8:
        for side in (-half_w, half_w - 0.05):
            prop.box(one, load, (-half_l, back), (side, side + 0.05), (bed, bed + 0.7))
        prop.box(one, load, (-half_l, -half_l + 0.05), (-half_w, half_w), (bed, bed + 0.7))
    else:
        prop.rod(one, load, (-half_l, 0.0, bed + half_w), (back, 0.0, bed + half_w), half_w)
    axles = (half_l - 0.9, -half_l + 0.9, -half_l + 2.0)
    wheels(prop, one, palette.pick(rng, "rubber"), axles, half_w, _u(rng, 0.42, 0.52))
    return prop


def other_vehicle(rng: np.random.Generator, palette: Palette) -> Prop:
    """A delivery van, a bus, a trailer or a tractor."""
    make = (_van, _bus, _trailer, _tractor)[int(rng.integers(4))]
    return make(rng, palette)


def driving_vehicle(rng: np.random.Generator, palette: Palette) -> Prop:
    """One of the other vehicles that drive by themselves."""
    make = (_van, _bus, _tractor)[int(rng.integers(3))]
    return make(rng, palette)


def _van(rng: np.random.Generator, palette: Palette) -> Prop:
    prop = Prop()
    one = prop.instance(raw_ids.OTHER_VEHICLE)
    paint, glass = palette.pick(rng, "painted"), palette.pick(rng, "glass")
    half_l, half_w, top = _u(rng, 2.4, 3.0), _u(rng, 0.95, 1.05), _u(rng, 1.95, 2.6)
    belt = _u(rng, 1.05, 1.2)
    hood = half_l - _u(rng, 0.5, 0.9)
    body = [
        (half_l, 0.55, half_w * 0.9), (half_l - 0.1, belt - 0.15, half_w * 0.95),
        (hood, belt, half_w), (-half_l, belt, half_w),
    ]  # fmt: skip
    loft(prop, one, paint, paint, body, (0.25, half_w))
    cab = hood - 1.5
    front = [(hood, belt, half_w), (hood - 0.5, top, half_w * 0.9), (cab, top, half_w * 0.92)]
    loft(prop, one, glass, glass, front, (belt, half_w))
    box = [(cab + 0.3, top + 0.02, half_w * 0.92), (-half_l, top, half_w * 0.92)]
    loft(prop, one, paint, paint, box, (belt, half_w))
    axles = (half_l - 0.85, -half_l + 0.9)
    wheels(prop, one, palette.pick(rng, "rubber"), axles, half_w + 0.01, 0.34)
    return prop


def _bus(rng: np.random.Generator, palette: Palette) -> Prop:
    prop = Prop()
    one = prop.instance(raw_ids.BUS)
    paint, glass = palette.pick(rng, "painted"), palette.pick(rng, "glass")
    half_l, half_w, top = _u(rng, 3.8, 6.0), _u(rng, 1.15, 1.25), _u(rng, 2.7, 3.2)
    prop.box(one, paint, (-half_l, half_l), (-half_w, half_w), (0.35, 1.25))
    prop.box(one, glass, (-half_l, half_l), (-half_w * 0.98, half_w * 0.98), (1.25, top - 0.45))
    prop.box(one, paint, (-half_l, half_l), (-half_w, half_w), (top - 0.45, top))
    for x in np.linspace(-half_l + 0.1, half_l - 0.1, 6):
        x_range = (float(x) - 0.1, float(x) + 0.1)
        prop.box(one, paint, x_range, (-half_w, half_w), (1.2, top - 0.4))
    axles = (half_l - 2.2, -half_l + 2.2)
    wheels(prop, one, palette.pick(rng, "rubber"), axles, half_w + 0.01, 0.48)
    return prop


def _trailer(rng: np.random.Generator, palette: Palette) -> Prop:
    """A caravan, or a low open trailer."""
    prop = Prop()
    one = prop.instance(raw_ids.OTHER_VEHICLE)
    body = palette.pick(rng, "painted", "metal", "wood")
    half_l, half_w = _u(rng, 1.2, 2.4), _u(rng, 0.75, 1.1)
    if rng.random() < 0.5:
        prop.box(one, body, (-half_l, half_l), (-half_w, half_w), (0.5, 2.4))
        glass = palette.pick(rng, "glass")
        prop.box(
            one, glass, (-half_l * 0.5, half_l * 0.5), (-half_w - 0.02, half_w + 0.02), (1.3, 1.9)
        )
    else:
        prop.box(one, body, (-half_l, half_l), (-half_w, half_w), (0.5, 0.6))
        for side in (-half_w, half_w - 0.04):
            prop.box(one, body, (-half_l, half_l), (side, side + 0.04), (0.6, 1.0))
    prop.rod(one, body, (half_l, 0.0, 0.5), (half_l + 1.1, 0.0, 0.45), 0.06)
    wheels(prop, one, palette.pick(rng, "rubber"), (0.0,), half_w + 0.1, 0.32)
    return prop


def _tractor(rng: np.random.Generator, palette: Palette) -> Prop:
    prop = Prop()
    one = prop.instance(raw_ids.OTHER_VEHICLE)
    paint, tyre = palette.pick(rng, "painted"), palette.pick(rng, "rubber")
    prop.box(one, paint, (0.2, 1.9), (-0.4, 0.4), (0.7, 1.5))
    prop.box(one, palette.pick(rng, "glass"), (-1.2, 0.2), (-0.65, 0.65), (1.3, 2.5))
    prop.box(one, paint, (-1.3, 0.3), (-0.75, 0.75), (2.5, 2.65))
    prop.box(one, paint, (-1.4, 0.4), (-0.6, 0.6), (0.8, 1.35))
    wheels(prop, one, tyre, (-0.7,), 0.95, _u(rng, 0.7, 0.85))
    wheels(prop, one, tyre, (1.3,), 0.8, _u(rng, 0.42, 0.55))
    return prop
