"""Poles, lamps, signs and the small things of a sidewalk, all with -y towards the street."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.streets import raw_ids
from pointseg.data.synthetic.streets.materials import Palette


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def lamp(rng: np.random.Generator, palette: Palette) -> Prop:
    """A street lamp: a post, often as thick and as rough as a trunk, with an arm or a head."""
    prop = Prop()
    one = prop.instance(raw_ids.POLE)
    material = palette.pick(rng, "metal", "painted", "wood", "mineral")
    height = _u(rng, 4.0, 8.5)
    lean = (_u(rng, -0.08, 0.08), _u(rng, -0.08, 0.08))
    prop.rod(one, material, (0.0, 0.0, -0.2), (*lean, height), _u(rng, 0.07, 0.17), _u(rng, 0.5, 1))
    if rng.random() < 0.7:
        reach = _u(rng, 0.8, 2.0)
        prop.rod(one, material, (*lean, height - 0.1), (lean[0], -reach, height + 0.3), 0.05)
        prop.box(
            one, material, (-0.15, 0.15), (-reach - 0.5, -reach), (height + 0.25, height + 0.38)
        )
    else:
        prop.tube(one, material, lean, (height, height + 0.5), 0.2, taper=0.6)
    return prop


def sign(rng: np.random.Generator, palette: Palette) -> Prop:
    """One or two plates on a thin post, facing -x or +x; plates are painted or reflecting."""
    prop = Prop()
    post, plate = prop.instance(raw_ids.POLE), prop.instance(raw_ids.TRAFFIC_SIGN)
    height = _u(rng, 2.3, 3.4)
    prop.rod(
        post, palette.pick(rng, "metal", "painted"), (0.0, 0.0, 0.0), (0.0, 0.0, height), 0.045
    )
    top = height
    for _ in range(int(rng.integers(1, 3))):
        material = palette.pick(rng, "painted", "reflector", "metal")
        wide, tall = _u(rng, 0.28, 0.45), _u(rng, 0.28, 0.45)
        turn = _u(rng, -0.35, 0.35)
        x = (0.05, 0.08)
        if rng.random() < 0.5:
            prop.box(plate, material, x, (-wide, wide), (top - 2 * tall, top), yaw=turn)
        else:
            middle = (0.06, 0.0, top - wide)
            prop.rod(plate, material, middle, (0.09, 0.03 * turn, top - wide), wide)
            tall = wide
        top -= 2 * tall + 0.05
    return prop


def direction_board(rng: np.random.Generator, palette: Palette) -> Prop:
    """A large board on two posts."""
    prop = Prop()
    post, plate = prop.instance(raw_ids.POLE), prop.instance(raw_ids.TRAFFIC_SIGN)
    steel = palette.pick(rng, "metal")
    wide, low = _u(rng, 0.8, 1.3), _u(rng, 1.6, 2.2)
    for y in (-wide * 0.7, wide * 0.7):
        prop.rod(post, steel, (0.0, y, -0.1), (0.0, y, low + 1.1), 0.05)
    board = palette.pick(rng, "painted", "reflector", "metal")
    prop.box(plate, board, (0.06, 0.1), (-wide, wide), (low, low + _u(rng, 0.9, 1.5)))
    return prop


def traffic_light(rng: np.random.Generator, palette: Palette) -> Prop:
    """A post with a signal head."""
    prop = Prop()
    post, head = prop.instance(raw_ids.POLE), prop.instance(raw_ids.OTHER_OBJECT)
    prop.rod(post, palette.pick(rng, "metal", "painted"), (0.0, 0.0, 0.0), (0.0, 0.0, 3.4), 0.07)
    prop.box(head, palette.pick(rng, "painted"), (0.07, 0.3), (-0.16, 0.16), (2.4, 3.3))
    return prop


def small_thing(rng: np.random.Generator, palette: Palette) -> Prop:
    """A bin, bench, cabinet, bollard, planter or stack of boxes: raw id other-object."""
    prop = Prop()
    one = prop.instance(raw_ids.OTHER_OBJECT)
    material = palette.pick(rng, "painted", "metal", "wood", "mineral")
    kind = int(rng.integers(6))
    if kind == 0:
        prop.tube(
            one, material, (0.0, 0.0), (0.05, _u(rng, 0.8, 1.1)), _u(rng, 0.2, 0.3), taper=1.15
        )
    elif kind == 1:
        prop.box(one, material, (-0.8, 0.8), (-0.2, 0.2), (0.4, 0.46))
        prop.box(one, material, (-0.8, 0.8), (0.2, 0.26), (0.5, 0.9), pitch=-0.15)
        for x in (-0.65, 0.65):
            prop.box(one, material, (x - 0.05, x + 0.05), (-0.2, 0.22), (0.0, 0.42))
    elif kind == 2:
        wide = _u(rng, 0.3, 0.7)
        prop.box(one, material, (-wide, wide), (-0.2, 0.2), (0.0, _u(rng, 0.9, 1.6)))
    elif kind == 3:
        prop.tube(one, material, (0.0, 0.0), (0.0, _u(rng, 0.7, 1.0)), _u(rng, 0.07, 0.13))
    elif kind == 4:
        prop.tube(one, material, (0.0, 0.0), (0.0, 0.5), 0.45, taper=1.2)
    else:
        for x in np.arange(int(rng.integers(1, 4))) * 0.62:
            box = (float(x) - 0.3, float(x) + 0.28)
            prop.box(one, material, box, (-0.35, 0.3), (0.0, _u(rng, 0.9, 1.1)))
    return prop


def container(rng: np.random.Generator, palette: Palette) -> Prop:
    """A large box such as a skip or a site hut: raw id other-object."""
    prop = Prop()
    one = prop.instance(raw_ids.OTHER_OBJECT)
    long, high = _u(rng, 1.5, 2.8), _u(rng, 1.2, 2.5)
    prop.box(one, palette.pick(rng, "painted", "metal"), (-long, long), (-1.0, 1.0), (0.1, high))
    return prop
