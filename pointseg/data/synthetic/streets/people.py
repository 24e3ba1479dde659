"""Persons, bicycles, motorcycles and their riders, +x ahead, the origin on the ground."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import Material
from pointseg.data.synthetic.streets import raw_ids
from pointseg.data.synthetic.streets.materials import Palette

_XYZ = tuple[float, float, float]


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _wheel(prop: Prop, one: int, material: Material, x: float, radius: float, rim: float) -> None:
    """A ring in the plane y = 0, a little thick so that rays along it still meet it."""
    angle = np.linspace(0, 2 * np.pi, 17)
    for y in (-0.02, 0.02):
        rings = [
            np.stack([x + r * np.cos(angle), np.full(17, y), radius + r * np.sin(angle)], 1)
            for r in (radius - rim, radius)
        ]
        prop.sheet(one, material, np.stack(rings))
    edges = [
        np.stack([x + radius * np.cos(angle), np.full(17, y), radius + radius * np.sin(angle)], 1)
        for y in (-0.02, 0.02)
    ]
    prop.sheet(one, material, np.stack(edges))


def _bicycle(prop: Prop, one: int, rng: np.random.Generator, palette: Palette) -> None:
    frame, tyre = palette.pick(rng, "painted", "metal"), palette.pick(rng, "rubber")
    radius = _u(rng, 0.31, 0.36)
    for x in (-0.52, 0.52):
        _wheel(prop, one, tyre, x, radius, 0.07)
    seat, head, crank = (-0.2, 0.0, 0.92), (0.38, 0.0, 0.88), (-0.05, 0.0, 0.3)
    for a, b in ((crank, seat), (crank, head), (seat, head), ((-0.52, 0.0, radius), crank)):
        prop.rod(one, frame, a, b, 0.025)
    prop.rod(one, frame, (0.52, 0.0, radius), (0.36, 0.0, 1.02), 0.025)
    prop.rod(one, frame, (0.34, -0.3, 1.05), (0.34, 0.3, 1.05), 0.025)
    prop.box(one, tyre, (-0.33, -0.08), (-0.08, 0.08), (0.92, 0.98))
    if rng.random() < 0.4:
        prop.box(one, frame, (-0.8, -0.3), (-0.1, 0.1), (0.68, 0.74))


def _motorcycle(prop: Prop, one: int, rng: np.random.Generator, palette: Palette) -> None:
    paint, tyre = palette.pick(rng, "painted", "metal"), palette.pick(rng, "rubber")
    radius = _u(rng, 0.27, 0.33)
    for x in (-0.68, 0.68):
        prop.rod(one, tyre, (x, -0.07, radius), (x, 0.07, radius), radius)
    prop.box(one, paint, (-0.35, 0.35), (-0.17, 0.17), (0.3, 0.72))
    prop.box(one, paint, (-0.1, 0.4), (-0.18, 0.18), (0.7, 0.95), pitch=0.05)
    prop.box(one, tyre, (-0.85, -0.1), (-0.15, 0.15), (0.7, 0.82))
    prop.rod(one, paint, (0.68, 0.0, radius), (0.42, 0.0, 1.0), 0.06)
    prop.rod(one, paint, (0.4, -0.36, 1.02), (0.4, 0.36, 1.02), 0.03)
    if rng.random() < 0.5:
        prop.box(one, paint, (0.45, 0.62), (-0.22, 0.22), (0.75, 1.25))


def _body(
    prop: Prop, one: int, rng: np.random.Generator, palette: Palette, hip: _XYZ, lean: float,
    feet: tuple[_XYZ, _XYZ], hands: tuple[_XYZ, _XYZ] | None,
) -> None:  # fmt: skip
    """Torso, head and limbs of a human whose hip is at ``hip``; free arms hang down."""
    coat, trousers = palette.pick(rng, "cloth"), palette.pick(rng, "cloth")
    skin = palette.pick(rng, "cloth")
    size = _u(rng, 0.88, 1.08)
    torso = 0.55 * size
    neck = (hip[0] + torso * float(np.sin(lean)), hip[1], hip[2] + torso * float(np.cos(lean)))
    prop.rod(one, coat, hip, neck, _u(rng, 0.15, 0.2), taper=1.15)
    crown = (neck[0] + 0.06, neck[1], neck[2] + 0.28)
    prop.rod(one, skin, neck, crown, 0.10, taper=0.95)
    for side, foot in zip((-1.0, 1.0), feet, strict=True):
        top = (hip[0], hip[1] + side * 0.1, hip[2])
        knee = (
            (top[0] + foot[0]) / 2 + 0.1, (top[1] + foot[1]) / 2, (top[2] + foot[2]) / 2 + 0.02,
        )  # fmt: skip
        prop.rod(one, trousers, top, knee, 0.09, taper=0.75)
        prop.rod(one, trousers, knee, foot, 0.07, taper=0.8)
        shoulder = (neck[0], neck[1] + side * 0.2, neck[2] - 0.05)
        swing = _u(rng, -0.2, 0.25)
        hanging = (shoulder[0] + swing, shoulder[1] + side * 0.06, shoulder[2] - 0.58 * size)
        hand = hanging if hands is None else hands[0 if side < 0 else 1]
        prop.rod(one, coat, shoulder, hand, 0.055, taper=0.8)


def person(rng: np.random.Generator, palette: Palette) -> Prop:
    """Somebody standing or walking, some with a bag."""
    prop = Prop()
    one = prop.instance(raw_ids.PERSON)
    step, height = _u(rng, 0.0, 0.35), _u(rng, 0.78, 0.95)
    feet = ((step, -0.1, 0.05), (-step, 0.1, 0.05))
    _body(prop, one, rng, palette, (0.0, 0.0, height), _u(rng, -0.05, 0.15), feet, None)
    if rng.random() < 0.3:
        bag = palette.pick(rng, "cloth")
        prop.box(one, bag, (-0.36, -0.14), (-0.16, 0.16), (height + 0.1, height + 0.5))
    return prop


def bicycle(rng: np.random.Generator, palette: Palette) -> Prop:
    """A parked bicycle."""
    prop = Prop()
    _bicycle(prop, prop.instance(raw_ids.BICYCLE), rng, palette)
    return prop


def motorcycle(rng: np.random.Generator, palette: Palette) -> Prop:
    """A parked motorcycle or scooter."""
    prop = Prop()
    _motorcycle(prop, prop.instance(raw_ids.MOTORCYCLE), rng, palette)
    return prop


def bicyclist(rng: np.random.Generator, palette: Palette) -> Prop:
    """A bicycle with its rider, one instance."""
    prop = Prop()
    one = prop.instance(raw_ids.BICYCLIST)
    _bicycle(prop, one, rng, palette)
    pedal = _u(rng, 0.1, 0.5)
    feet = ((0.05, -0.12, pedal), (-0.05, 0.12, 0.6 - pedal))
    hands = ((0.34, -0.25, 1.05), (0.34, 0.25, 1.05))
    _body(prop, one, rng, palette, (-0.2, 0.0, 1.0), _u(rng, 0.2, 0.6), feet, hands)
    return prop


def motorcyclist(rng: np.random.Generator, palette: Palette) -> Prop:
    """A motorcycle with its rider, one instance."""
    prop = Prop()
    one = prop.instance(raw_ids.MOTORCYCLIST)
    _motorcycle(prop, one, rng, palette)
    feet = ((0.05, -0.22, 0.3), (0.05, 0.22, 0.3))
    hands = ((0.4, -0.3, 1.05), (0.4, 0.3, 1.05))
    _body(prop, one, rng, palette, (-0.25, 0.0, 0.88), _u(rng, 0.1, 0.5), feet, hands)
    return prop
