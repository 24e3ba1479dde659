"""What belongs to a wall: doors, windows with curtains, framed pictures.

Frames here have y = 0 on the wall's face, +y into the room and -y into the wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.bathroom import wavy_sheet
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import PRINT, Material, hard, pick, soft

WALL_THICKNESS_M = 0.30


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: its middle along the wall, width, and height span, in metres."""

    at: float
    width: float
    low: float
    high: float


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _lining(
    prop: Prop,
    one: int,
    material: Material,
    width: float,
    z: tuple[float, float],
    proud: float,
) -> None:
    """The frame around an opening, from the bottom of the recess to in front of the wall."""
    thick, deep = 0.06, WALL_THICKNESS_M
    edge = width / 2 + 0.03
    for side in (-1, 1):
        outer, inner = side * edge, side * (width / 2 - thick)
        prop.box(one, material, (min(outer, inner), max(outer, inner)), (-deep, proud), z)
    prop.box(one, material, (-edge, edge), (-deep, proud), (z[1] - thick, z[1] + 0.03))


def _leaf(
    rng: np.random.Generator, material: Material, width: float, height: float, hinge: int
) -> Prop:
    """A door leaf that reaches from its hinge (-1 left, +1 right) across the opening."""

    def across(a: float, b: float) -> tuple[float, float]:
        return (min(-hinge * a, -hinge * b), max(-hinge * a, -hinge * b))

    leaf = Prop()
    leaf.box(0, material, across(0.0, width), (-0.04, 0.0), (0.01, height))
    raised = material.shade(_u(rng, 0.92, 1.08))
    for z in ((0.15, 0.85), (1.05, height - 0.14)):
        leaf.box(0, raised, across(0.13, width - 0.13), (-0.055, 0.015), z)
    knob = pick(rng, "metal")
    leaf.box(0, knob, across(width - 0.16, width - 0.04), (-0.09, 0.05), (0.98, 1.03))
    return leaf


def door(rng: np.random.Generator, opening: Opening) -> Prop:
    """Frame and leaf; the leaf lies 12-20 cm back in the wall, or stands open into the room."""
    w, top = opening.width, opening.high
    frame = hard(rng)
    leaf = frame if rng.random() < 0.4 else hard(rng)
    prop = Prop(size=(w, 0.05, top))
    one = prop.instance(nyu40.DOOR)
    proud, deep = _u(rng, 0.03, 0.05), _u(rng, 0.12, 0.20)
    _lining(prop, one, frame, w, (0.0, top), proud)
    swing = _u(rng, 0.7, 1.6) if rng.random() < 0.22 else 0.0
    hinge = -1 if rng.random() < 0.5 else 1
    inner = w / 2 - 0.06
    panel = _leaf(rng, leaf, 2 * inner, top - 0.06, hinge)
    at_y = -deep if swing == 0.0 else 0.0
    prop.add(panel, (hinge * inner, at_y, 0.0), -hinge * swing, into=one)
    if swing:
        back = prop.instance(nyu40.UNANNOTATED)
        wall = pick(rng, "white", "fabric")
        prop.box(back, wall, (-w, w), (-1.3, -1.25), (0.0, top + 0.3))
        prop.box(back, wall, (-w, w), (-1.3, -WALL_THICKNESS_M), (-0.05, 0.0))
        prop.box(back, wall, (-w, -w + 0.05), (-1.3, -WALL_THICKNESS_M), (0.0, top + 0.3))
        prop.box(back, wall, (w - 0.05, w), (-1.3, -WALL_THICKNESS_M), (0.0, top + 0.3))
        prop.box(back, wall, (-w, w), (-1.3, -WALL_THICKNESS_M), (top + 0.25, top + 0.3))
    return prop


def window(rng: np.random.Generator, opening: Opening) -> Prop:
    """Recessed panes behind a grid of bars, a frame, and a sill that stands into the room."""
    w, z = opening.width, (opening.low, opening.high)
    frame = hard(rng)
    prop = Prop(size=(w, 0.15, z[1]))
    one = prop.instance(nyu40.WINDOW)
    deep = _u(rng, 0.16, 0.24)
    glass = pick(rng, "white", "painted", "metal")._replace(dropout=0.15)
    prop.box(one, glass, (-w / 2, w / 2), (-deep - 0.03, -deep), z)
    _lining(prop, one, frame, w, z, _u(rng, 0.02, 0.04))
    columns = 2 if w < 1.3 else 3
    for i in range(1, columns):
        x = -w / 2 + w * i / columns
        prop.box(one, frame, (x - 0.03, x + 0.03), (-deep, -deep + 0.05), z)
    bar = z[0] + (z[1] - z[0]) * _u(rng, 0.45, 0.7)
    prop.box(one, frame, (-w / 2, w / 2), (-deep, -deep + 0.05), (bar - 0.03, bar + 0.03))
    reach = _u(rng, 0.08, 0.14)
    prop.box(one, frame, (-w / 2 - 0.06, w / 2 + 0.06), (-deep, reach), (z[0] - 0.05, z[0]))
    return prop


def curtains(rng: np.random.Generator, opening: Opening, sides: tuple[bool, bool]) -> Prop:
    """Cloths in folds beside a window, hung from a rail 10-15 cm off the wall."""
    prop = Prop(size=(opening.width + 1.0, 0.25, 2.3))
    cloth = soft(rng)
    top = opening.high + _u(rng, 0.08, 0.18)
    low = _u(rng, 0.03, 0.12)
    off, wide = _u(rng, 0.13, 0.17), _u(rng, 0.38, 0.52)
    for side, there in zip((-1, 1), sides, strict=True):
        if not there:
            continue
        inner = side * (opening.width / 2 - 0.12)
        outer = inner + side * wide
        grid = wavy_sheet(rng, (min(inner, outer), max(inner, outer)), off, (low, top), 0.05, 0.19)
        prop.sheet(prop.instance(nyu40.CURTAIN), cloth, grid)
    rail = prop.instance(nyu40.OTHER_PROP)
    half = opening.width / 2 + wide
    prop.box(rail, hard(rng), (-half, half), (off - 0.015, off + 0.015), (top, top + 0.03))
    return prop


def picture(rng: np.random.Generator) -> Prop:
    """A deep panel in a frame, 7-11 cm proud of the wall; its print is patches of colour."""
    w, h = _u(rng, 0.6, 1.25), _u(rng, 0.55, 0.95)
    low = _u(rng, 1.15, 1.35)
    proud = _u(rng, 0.07, 0.11)
    prop = Prop(size=(w, proud + 0.02, low + h))
    one = prop.instance(nyu40.PICTURE)
    image = soft(rng)._replace(pattern=PRINT, contrast=_u(rng, 0.5, 0.8))
    frame = hard(rng)
    prop.box(one, image, (-w / 2, w / 2), (0.0, proud - 0.015), (low, low + h))
    for x in ((-w / 2, -w / 2 + 0.06), (w / 2 - 0.06, w / 2)):
        prop.box(one, frame, x, (0.0, proud + 0.01), (low, low + h))
    for z in ((low, low + 0.06), (low + h - 0.06, low + h)):
        prop.box(one, frame, (-w / 2, w / 2), (0.0, proud + 0.01), z)
    return prop
