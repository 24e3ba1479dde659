"""Things the benchmark ignores: boxes, books, lamps, bags, plants, bins, mats, screens."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import glossy, hard, pick, soft


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def scatter_on(
    prop: Prop,
    rng: np.random.Generator,
    x: tuple[float, float],
    y: tuple[float, float],
    z: float,
    count: int,
    shrink: float = 1.0,
    kitchen: bool = False,
) -> None:
    """Put a few boxes, stacks of books or pots on a surface at height z."""
    middle_x, middle_y = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2
    reach_x = max(0.0, ((x[1] - x[0]) / 2 - 0.15) * shrink)
    reach_y = max(0.0, ((y[1] - y[0]) / 2 - 0.15) * shrink)
    for _ in range(count):
        at_x = middle_x + _u(rng, -reach_x, reach_x)
        at_y = middle_y + _u(rng, -reach_y, reach_y)
        kind = float(rng.random())
        if kind < 0.35:
            one = prop.instance(nyu40.OTHER_PROP)
            prop.tube(
                one, glossy(rng), (at_x, at_y), (z, z + _u(rng, 0.1, 0.28)), _u(rng, 0.04, 0.11),
                taper=_u(rng, 0.6, 1.2),
            )  # fmt: skip
            continue
        label = nyu40.BOOKS if kind < 0.7 and not kitchen else nyu40.BOX
        half_x, half_y = _u(rng, 0.08, 0.15), _u(rng, 0.07, 0.13)
        height = _u(rng, 0.04, 0.14) if label == nyu40.BOOKS else _u(rng, 0.08, 0.28)
        prop.box(
            prop.instance(label),
            soft(rng) if label == nyu40.BOOKS else hard(rng),
            (at_x - half_x, at_x + half_x),
            (at_y - half_y, at_y + half_y),
            (z, z + height),
            yaw=_u(rng, -0.6, 0.6),
        )


def floor_box(rng: np.random.Generator) -> Prop:
    """A cardboard box or crate, sometimes two stacked."""
    w, d, h = _u(rng, 0.25, 0.5), _u(rng, 0.25, 0.45), _u(rng, 0.2, 0.42)
    prop = Prop(size=(w, d, h))
    material = pick(rng, "wood", "white", "painted")
    prop.box(prop.instance(nyu40.BOX), material, (-w / 2, w / 2), (0.0, d), (0.0, h))
    if rng.random() < 0.35:
        prop.box(
            prop.instance(nyu40.BOX), pick(rng, "wood", "white", "painted"),
            (-w / 2.6, w / 2.6), (d * 0.1, d * 0.85), (h, h + _u(rng, 0.15, 0.3)),
            yaw=_u(rng, -0.3, 0.3),
        )  # fmt: skip
        prop.size = (w, d, h + 0.3)
    return prop


def bag(rng: np.random.Generator) -> Prop:
    """A soft bag on the floor."""
    w, h = _u(rng, 0.3, 0.45), _u(rng, 0.25, 0.45)
    prop = Prop(size=(w, w, h))
    prop.tube(
        prop.instance(nyu40.BAG), soft(rng), (0.0, w / 2), (0.0, h), (w / 2, w / 3), taper=0.7
    )
    return prop


def bin_(rng: np.random.Generator) -> Prop:
    """A waste bin."""
    radius, h = _u(rng, 0.12, 0.18), _u(rng, 0.3, 0.45)
    prop = Prop(size=(2 * radius, 2 * radius, h))
    prop.tube(
        prop.instance(nyu40.OTHER_PROP), hard(rng), (0.0, radius), (0.0, h), radius * 0.8,
        taper=1.2,
    )  # fmt: skip
    return prop


def plant(rng: np.random.Generator) -> Prop:
    """A pot with a few leaning leaves."""
    h = _u(rng, 0.5, 1.1)
    prop = Prop(size=(0.5, 0.5, h))
    one = prop.instance(nyu40.OTHER_PROP)
    prop.tube(one, hard(rng), (0.0, 0.25), (0.0, 0.28), 0.12, taper=1.25)
    leaf = pick(rng, "painted")._replace(rgb=(0.25, _u(rng, 0.35, 0.5), 0.2))
    for angle in np.arange(5) * 1.26 + _u(rng, 0, 1):
        prop.box(
            one, leaf, (-0.05, 0.05), (0.16, 0.34), (0.28, h), yaw=float(angle),
            pitch=_u(rng, -0.25, 0.25),
        )  # fmt: skip
    return prop


def floor_lamp(rng: np.random.Generator) -> Prop:
    """Foot, pole and shade."""
    h = _u(rng, 1.35, 1.65)
    prop = Prop(size=(0.4, 0.4, h + 0.25))
    one = prop.instance(nyu40.LAMP)
    metal = pick(rng, "metal", "wood")
    prop.tube(one, metal, (0.0, 0.2), (0.0, 0.04), 0.15)
    prop.tube(one, metal, (0.0, 0.2), (0.0, h), 0.02)
    prop.tube(one, soft(rng), (0.0, 0.2), (h - 0.05, h + 0.22), 0.2, taper=0.7)
    return prop


def mat(rng: np.random.Generator, width: float, depth: float) -> Prop:
    """A rug or bath mat."""
    prop = Prop(size=(width, depth, 0.02))
    prop.box(
        prop.instance(nyu40.FLOOR_MAT), soft(rng), (-width / 2, width / 2), (0.0, depth),
        (-0.01, 0.015),
    )  # fmt: skip
    return prop


def television(rng: np.random.Generator) -> Prop:
    """A flat screen that stands on furniture."""
    w = _u(rng, 0.9, 1.3)
    prop = Prop(size=(w, 0.2, 0.7))
    one = prop.instance(nyu40.TELEVISION)
    dark = pick(rng, "metal").shade(0.35)
    prop.box(one, dark, (-w / 2, w / 2), (0.08, 0.13), (0.06, 0.06 + w * 0.57))
    prop.box(one, dark, (-0.2, 0.2), (0.02, 0.2), (0.0, 0.07))
    return prop


def hung_panel(rng: np.random.Generator, label: int, w: float, h: float, low: float) -> Prop:
    """A thin ignored panel on a wall: mirror or whiteboard."""
    prop = Prop(size=(w, 0.03, low + h))
    one = prop.instance(label)
    face = pick(rng, "white", "metal")._replace(dropout=0.3 if label == nyu40.MIRROR else 0.05)
    prop.box(one, face, (-w / 2, w / 2), (0.0, 0.025), (low, low + h))
    return prop


def towels(rng: np.random.Generator) -> Prop:
    """Towels on a short rail."""
    w = _u(rng, 0.4, 0.6)
    prop = Prop(size=(w, 0.1, 1.3))
    one = prop.instance(nyu40.TOWEL)
    low = _u(rng, 0.7, 0.9)
    prop.box(one, soft(rng), (-w / 2, w / 2), (0.05, 0.09), (low, 1.25))
    return prop


def radiator(rng: np.random.Generator, width: float) -> Prop:
    """A ribbed heater under a window."""
    prop = Prop(size=(width, 0.12, 0.62))
    one = prop.instance(nyu40.OTHER_STRUCTURE)
    metal = pick(rng, "white", "metal")
    prop.box(one, metal, (-width / 2, width / 2), (0.03, 0.07), (0.12, 0.6))
    for x in np.arange(-width / 2 + 0.04, width / 2, 0.1):
        prop.box(one, metal, (float(x) - 0.03, float(x) + 0.03), (0.02, 0.12), (0.1, 0.62))
    return prop
