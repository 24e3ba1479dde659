"""Trees, bushes, hedges and tufts of grass: stems, and leaves as loose quadrilaterals."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.streets import raw_ids
from pointseg.data.synthetic.streets.materials import Palette


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def leaves(rng: np.random.Generator, centers: np.ndarray, size_m: float) -> np.ndarray:
    """Square leaves [N, 4, 3] of random attitude and size around ``centers`` [N, 3]."""
    along = rng.standard_normal(centers.shape)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, rng.standard_normal(centers.shape))
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    half = size_m / 2 * rng.uniform(0.6, 1.5, (len(centers), 1))
    u, v = along * half, across * half
    return np.stack([centers - u - v, centers + u - v, centers + u + v, centers - u + v], 1)


def ball(
    rng: np.random.Generator,
    count: int,
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> np.ndarray:
    """Points [count, 3] in the outer part of an ellipsoid."""
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    depth = rng.uniform(0.45, 1.0, (count, 1)) ** 0.5
    return np.array(center) + direction * depth * np.array(radii)


def tree(rng: np.random.Generator, palette: Palette) -> Prop:
    """A trunk under a crown of clumps, or under a cone; some are young and thin."""
    prop = Prop()
    stem, crown = prop.instance(raw_ids.TRUNK), prop.instance(raw_ids.VEGETATION)
    bark, green = palette.pick(rng, "wood", "mineral"), palette.pick(rng, "plant")
    size = _u(rng, 0.55, 1.35)
    clear = _u(rng, 1.3, 2.9) * min(1.0, size + 0.2)
    radius = _u(rng, 0.10, 0.26) * size
    top = (_u(rng, -0.4, 0.4), _u(rng, -0.4, 0.4), clear + 1.6 * size)
    prop.rod(stem, bark, (0.0, 0.0, -0.3), top, radius, taper=0.6)
    if rng.random() < 0.25:
        _cone(prop, rng, crown, palette, size, clear * 0.4)
        return prop
    wide, tall = _u(rng, 1.3, 2.6) * size, _u(rng, 1.5, 3.2) * size
    for _ in range(int(rng.integers(4, 8))):
        x, y = rng.uniform(-0.55, 0.55, 2) * wide
        z = clear + tall * _u(rng, 0.2, 1.5)
        end = (float(x) + top[0], float(y) + top[1], z)
        prop.rod(stem, bark, top, end, radius * 0.45, taper=0.3)
        radii = (wide * _u(rng, 0.4, 0.7), wide * _u(rng, 0.4, 0.7), tall * _u(rng, 0.3, 0.55))
        clump = leaves(rng, ball(rng, int(110 * size) + 30, end, radii), _u(rng, 0.22, 0.36))
        prop.add_quads(crown, green, clump)
    return prop


def _cone(
    prop: Prop, rng: np.random.Generator, one: int, palette: Palette, size: float, low: float
) -> None:
    """The needles of a conifer."""
    height, wide = _u(rng, 5.0, 8.0) * size, _u(rng, 1.2, 2.0) * size
    share = 1.0 - np.sqrt(rng.random(int(650 * size)))
    angle = rng.uniform(0, 2 * np.pi, len(share))
    out = wide * (1.0 - share) * rng.uniform(0.6, 1.0, len(share))
    at = np.stack([out * np.cos(angle), out * np.sin(angle), low + height * share], 1)
    prop.add_quads(one, palette.pick(rng, "plant"), leaves(rng, at, 0.3))


def bush(rng: np.random.Generator, palette: Palette) -> Prop:
    """A clump without a visible stem, from knee-high to taller than a man."""
    prop = Prop()
    one = prop.instance(raw_ids.VEGETATION)
    green, size = palette.pick(rng, "plant"), _u(rng, 0.6, 1.9)
    for _ in range(int(rng.integers(1, 4))):
        tall = _u(rng, 0.3, 0.8) * size
        radii = (_u(rng, 0.4, 0.8) * size, _u(rng, 0.4, 0.8) * size, tall)
        center = (_u(rng, -0.5, 0.5), _u(rng, -0.5, 0.5), tall * 0.8)
        count = int(90 * size + 40)
        prop.add_quads(one, green, leaves(rng, ball(rng, count, center, radii), 0.15 * size + 0.04))
    return prop


def hedge(rng: np.random.Generator, palette: Palette, length: float, height: float) -> Prop:
    """A clipped hedge along x from 0 to ``length``, rough all over."""
    prop = Prop()
    one = prop.instance(raw_ids.VEGETATION)
    green, deep = palette.pick(rng, "plant"), _u(rng, 0.25, 0.45)
    prop.box(one, green, (0.1, length - 0.1), (-deep + 0.1, deep - 0.1), (-0.2, height - 0.1))
    count = int(70 * length * height)
    at = np.stack(
        [
            rng.uniform(0, length, count),
            rng.choice([-deep, deep], count) + rng.normal(0, 0.04, count),
            rng.uniform(0, height, count),
        ],
        1,
    )
    roof = count // 3
    at[:roof, 1] = rng.uniform(-deep, deep, roof)
    at[:roof, 2] = height + rng.normal(0, 0.04, roof)
    prop.add_quads(one, green, leaves(rng, at, 0.15))
    return prop


def tufts(rng: np.random.Generator, palette: Palette, width: float, depth: float) -> Prop:
    """Grass on a rectangle around the origin, at most shin-high: raw id terrain."""
    prop = Prop()
    one = prop.instance(raw_ids.TERRAIN)
    count = int(min(2.5 * width * depth, 600))
    at = rng.uniform(-0.5, 0.5, (count, 3)) * np.array([width, depth, 0.0])
    at[:, 2] = rng.uniform(0.0, 0.12, count)
    prop.add_quads(one, palette.pick(rng, "plant"), leaves(rng, at, 0.14))
    return prop
