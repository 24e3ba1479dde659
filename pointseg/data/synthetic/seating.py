"""Beds, chairs, sofas and round poufs."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import hard, pick, soft


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _cushion(prop: Prop, rng: np.random.Generator, xy: tuple[float, float], z: float) -> None:
    """A pillow leaning or lying at (x, y), its underside at z."""
    size = _u(rng, 0.17, 0.24)
    prop.box(
        prop.instance(nyu40.PILLOW),
        soft(rng),
        (xy[0] - size, xy[0] + size),
        (xy[1] - 0.13, xy[1] + 0.13),
        (z, z + _u(rng, 0.10, 0.15)),
        yaw=_u(rng, -0.2, 0.2),
        pitch=_u(rng, -0.2, 0.5),
    )


def bed(rng: np.random.Generator, width: float | None = None) -> Prop:
    """Frame, mattress, overhanging blanket, headboard; its head against the wall."""
    w = width if width is not None else _u(rng, 0.95, 1.75)
    d = _u(rng, 1.95, 2.10)
    frame, headboard = hard(rng), hard(rng)
    mattress, blanket = soft(rng), soft(rng)
    top = _u(rng, 0.46, 0.58)
    prop = Prop(size=(w + 0.06, d, 1.1))
    one = prop.instance(nyu40.BED)
    prop.box(one, frame, (-w / 2, w / 2), (0.05, d), (_u(rng, 0.0, 0.12), 0.30))
    prop.box(one, mattress, (-w / 2 + 0.03, w / 2 - 0.03), (0.07, d - 0.03), (0.30, top))
    start = d * _u(rng, 0.28, 0.5)
    prop.box(
        one,
        blanket,
        (-w / 2 - 0.03, w / 2 + 0.03),
        (start, d - 0.01),
        (_u(rng, 0.18, 0.34), top + 0.04),
    )
    height = _u(rng, 0.85, 1.15)
    prop.box(one, headboard, (-w / 2 - 0.02, w / 2 + 0.02), (0.0, 0.07), (0.0, height))
    if rng.random() < 0.5:
        prop.box(one, frame, (-w / 2, w / 2), (d - 0.05, d), (0.0, _u(rng, 0.5, 0.75)))
    for x in [-w / 4, w / 4] if w > 1.3 else [0.0]:
        _cushion(prop, rng, (x, 0.28), top - 0.01)
    return prop


def _back(prop: Prop, one: int, rng: np.random.Generator, w: float, seat: float) -> None:
    """A chair's leaning back: one panel or four slats."""
    material = hard(rng) if rng.random() < 0.6 else soft(rng)
    top = seat + _u(rng, 0.38, 0.52)
    low = seat + _u(rng, 0.0, 0.12)
    pitch = _u(rng, 0.06, 0.2)
    if rng.random() < 0.65:
        prop.box(one, material, (-w / 2, w / 2), (0.0, 0.05), (low, top), pitch=pitch)
        return
    for x in np.linspace(-w / 2 + 0.03, w / 2 - 0.03, 4):
        prop.box(
            one, material, (float(x) - 0.03, float(x) + 0.03), (0.0, 0.04), (seat, top), pitch=pitch
        )
    prop.box(one, material, (-w / 2, w / 2), (-0.03, 0.02), (top - 0.1, top), pitch=pitch)


def chair(rng: np.random.Generator, office: bool = False) -> Prop:
    """Seat, leaning back and four legs, or a star base and arm rests; open towards +y."""
    w, d, seat = _u(rng, 0.42, 0.52), _u(rng, 0.42, 0.50), _u(rng, 0.43, 0.48)
    prop = Prop(size=(w, d + 0.04, seat + 0.5))
    one = prop.instance(nyu40.CHAIR)
    cover = soft(rng) if office or rng.random() < 0.4 else hard(rng)
    thick = _u(rng, 0.05, 0.09)
    prop.box(one, cover, (-w / 2, w / 2), (0.0, d), (seat - thick, seat))
    _back(prop, one, rng, w, seat)
    legs = hard(rng)
    if not office:
        for x in (-w / 2 + 0.03, w / 2 - 0.03):
            for y in (0.03, d - 0.03):
                prop.box(
                    one, legs, (x - 0.025, x + 0.025), (y - 0.025, y + 0.025), (0.0, seat - 0.03)
                )
        return prop
    prop.tube(one, legs, (0.0, d / 2), (0.06, seat), 0.045)
    for angle in np.arange(3) * (np.pi / 3):
        prop.box(
            one,
            legs,
            (-0.30, 0.30),
            (d / 2 - 0.03, d / 2 + 0.03),
            (0.02, 0.09),
            yaw=float(angle),
        )
    for x in (-w / 2 - 0.02, w / 2 + 0.02):
        prop.box(one, legs, (x - 0.03, x + 0.03), (0.08, d - 0.08), (seat + 0.18, seat + 0.23))
        prop.box(one, legs, (x - 0.02, x + 0.02), (0.16, 0.22), (seat - 0.05, seat + 0.2))
    return prop


def sofa(rng: np.random.Generator) -> Prop:
    """Upholstered bench with arms, back and two or three seat cushions."""
    w, d = _u(rng, 1.55, 2.25), _u(rng, 0.85, 1.0)
    cover = soft(rng)
    cushion = cover.shade(_u(rng, 0.9, 1.1)) if rng.random() < 0.7 else soft(rng)
    seat, back, arm = _u(rng, 0.40, 0.46), _u(rng, 0.78, 0.92), _u(rng, 0.16, 0.24)
    prop = Prop(size=(w, d, back))
    one = prop.instance(nyu40.SOFA)
    prop.box(one, cover, (-w / 2, w / 2), (0.05, d - 0.04), (_u(rng, 0.02, 0.1), 0.30))
    prop.box(one, cover, (-w / 2, w / 2), (0.0, 0.20), (0.05, back))
    for side in (-1, 1):
        outer, inner = side * w / 2, side * (w / 2 - arm)
        prop.box(one, cover, (min(outer, inner), max(outer, inner)), (0.05, d), (0.05, seat + 0.2))
    count = 2 if w < 1.9 else 3
    inner_w = w - 2 * arm
    for i in range(count):
        x = -inner_w / 2 + inner_w * i / count
        wide = (x + 0.01, x + inner_w / count - 0.01)
        prop.box(one, cushion, wide, (0.18, d), (0.29, seat))
        prop.box(one, cushion, wide, (0.16, 0.36), (seat, back - 0.02), pitch=0.18)
    for _ in range(int(rng.integers(0, 3))):
        _cushion(prop, rng, (_u(rng, -inner_w / 2 + 0.2, inner_w / 2 - 0.2), 0.5), seat)
    return prop


def pouf(rng: np.random.Generator) -> Prop:
    """A round upholstered stool without legs (class otherfurniture)."""
    radius, height = _u(rng, 0.27, 0.36), _u(rng, 0.38, 0.48)
    prop = Prop(size=(2 * radius, 2 * radius, height))
    one = prop.instance(nyu40.OTHER_FURNITURE)
    cover = soft(rng)
    middle = height * 0.5
    prop.tube(one, cover, (0.0, radius), (0.0, middle), radius * 0.85, taper=1 / 0.85)
    prop.tube(one, cover, (0.0, radius), (middle, height), radius, taper=0.85)
    prop.tube(one, pick(rng, "fabric", "metal"), (0.0, radius), (height, height + 0.03), 0.06)
    return prop
