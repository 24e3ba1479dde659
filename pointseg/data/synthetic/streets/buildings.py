"""Houses, sheds, fences and walls.

A building's front is the plane y = 0 and faces -y; fences are made in straight panels along x.
"""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import Material
from pointseg.data.synthetic.streets import raw_ids
from pointseg.data.synthetic.streets.materials import Palette

PANEL_M = 2.5
_DEEP = -1.0  # buildings begin below the ground, which may slope
_FRAME_M = 0.22


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def building(
    rng: np.random.Generator, palette: Palette, width: float, depth: float, storeys: int
) -> Prop:
    """A house of ``width`` x ``depth``: windows and a door set back in its front, a roof."""
    prop = Prop(size=(width, depth, 3.0 * storeys))
    one = prop.instance(raw_ids.BUILDING)
    wall = palette.pick(rng, "mineral", "mineral", "painted", "wood")
    glass = palette.pick(rng, "glass")
    height = _u(rng, 2.7, 3.3)
    half = width / 2
    plinth = _u(rng, 0.0, 0.7)
    top = plinth + height * storeys
    prop.box(one, wall, (-half, half), (_FRAME_M + 0.04, depth), (_DEEP, top))
    prop.box(
        one, glass, (-half + 0.3, half - 0.3), (_FRAME_M, _FRAME_M + 0.03), (plinth, top - 0.3)
    )
    _facade(prop, one, rng, palette, wall, half, (plinth, height, storeys))
    _roof(prop, one, rng, palette.pick(rng, "mineral", "metal", "painted"), half, depth, top)
    if storeys > 1 and rng.random() < 0.35:
        _balconies(prop, one, rng, palette, half, plinth, height, storeys)
    return prop


def _facade(
    prop: Prop, one: int, rng: np.random.Generator, palette: Palette, wall: Material,
    half: float, measures: tuple[float, float, int],
) -> None:  # fmt: skip
    """Piers and spandrels that leave windows free, and a door with steps in one of the bays."""
    plinth, height, storeys = measures
    bays = max(2, round(2 * half / _u(rng, 2.2, 3.2)))
    bay = 2 * half / bays
    pier, sill, lintel = bay * _u(rng, 0.22, 0.34), _u(rng, 0.6, 1.0), _u(rng, 0.3, 0.6)
    top = plinth + height * storeys
    prop.box(one, wall, (-half, half), (0.0, _FRAME_M), (_DEEP, plinth + 0.05))
    for i in range(bays + 1):
        x = -half + i * bay
        prop.box(
            one, wall, (max(-half, x - pier), min(half, x + pier)), (0.0, _FRAME_M), (plinth, top)
        )
    door = int(rng.integers(bays))
    for i in range(bays):
        across = (-half + i * bay, -half + (i + 1) * bay)
        for storey in range(storeys):
            low = plinth + storey * height
            prop.box(one, wall, across, (0.0, _FRAME_M), (low + height - lintel, low + height))
            if storey or i != door:
                prop.box(one, wall, across, (-0.05 * (i % 2), _FRAME_M), (low, low + sill))
            else:
                leaf = palette.pick(rng, "painted", "wood", "metal")
                prop.box(
                    one, leaf, across, (_FRAME_M - 0.06, _FRAME_M), (low, low + height - lintel)
                )
    middle = -half + (door + 0.5) * bay
    for step in range(round(plinth / 0.18)):
        far = 0.3 * (round(plinth / 0.18) - step)
        z = (0.18 * step - 0.3, 0.18 * (step + 1))
        prop.box(one, wall, (middle - 0.8, middle + 0.8), (-far, 0.0), z)


def _roof(
    prop: Prop, one: int, rng: np.random.Generator, material: Material, half: float, depth: float,
    top: float,
) -> None:  # fmt: skip
    """A flat roof with a parapet or a pitched one, its ridge along the street or across it."""
    kind = rng.random()
    over, rise = 0.35, _u(rng, 1.5, 3.8)
    if kind < 0.3:
        prop.box(one, material, (-half, half), (-0.1, depth), (top, top + _u(rng, 0.2, 0.7)))
        return
    if kind < 0.75:
        profile = [(-over, top - 0.2), (depth / 2, top + rise), (depth + over, top - 0.2)]
        grid = np.array([[(x, y, z) for x in (-half, half)] for y, z in profile])
        gables = [
            [(x, 0.0, top), (x, depth, top), (x, depth / 2, top + rise)] for x in (-half, half)
        ]
    else:
        profile = [(-half - over, top - 0.2), (0.0, top + rise), (half + over, top - 0.2)]
        grid = np.array([[(x, y, z) for y in (-over, depth)] for x, z in profile])
        gables = [[(-half, y, top), (half, y, top), (0.0, y, top + rise)] for y in (0.0, depth)]
    prop.sheet(one, material, grid)
    prop.add_quads(one, material, np.array([[a, b, c, c] for a, b, c in gables]))
    x, y = _u(rng, -half * 0.7, half * 0.7), depth / 2
    prop.box(one, material, (x - 0.3, x + 0.3), (y, y + 0.5), (top, top + rise + 0.8))


def _balconies(
    prop: Prop, one: int, rng: np.random.Generator, palette: Palette, half: float, plinth: float,
    height: float, storeys: int,
) -> None:  # fmt: skip
    material, wide = palette.pick(rng, "mineral", "metal"), _u(rng, 1.2, min(2.2, half))
    x = _u(rng, -half + wide, half - wide)
    for storey in range(1, storeys):
        z = plinth + storey * height
        prop.box(one, material, (x - wide, x + wide), (-1.1, 0.0), (z, z + 0.15))
        prop.box(one, material, (x - wide, x + wide), (-1.1, -1.05), (z + 0.15, z + 1.0))


def garage(rng: np.random.Generator, palette: Palette) -> Prop:
    """A low flat building with a wide gate."""
    width, depth, height = _u(rng, 2.9, 3.3), _u(rng, 5.0, 6.0), _u(rng, 2.3, 2.8)
    prop = Prop(size=(width, depth, height))
    one = prop.instance(raw_ids.BUILDING)
    prop.box(
        one, palette.pick(rng, "mineral"), (-width / 2, width / 2), (0.0, depth), (_DEEP, height)
    )
    gate = palette.pick(rng, "painted", "metal", "wood")
    prop.box(one, gate, (-width / 2 + 0.3, width / 2 - 0.3), (-0.06, 0.0), (0.0, height - 0.3))
    return prop


def fence_panel(
    rng: np.random.Generator, style: str, material: Material, height: float, post: bool = True
) -> Prop:
    """``PANEL_M`` of a fence from x = 0 on: planks, pickets, rails, mesh, guard rail or a wall."""
    prop = Prop(size=(PANEL_M, 0.1, height))
    one = prop.instance(raw_ids.FENCE)
    if style == "wall":
        prop.box(one, material, (0.0, PANEL_M), (-0.1, 0.1), (-0.5, height))
        return prop
    if post:
        prop.box(one, material, (-0.05, 0.05), (-0.05, 0.05), (-0.3, height + 0.04))
    if style == "planks":
        prop.box(one, material, (0.0, PANEL_M), (-0.02, 0.02), (0.05, height))
    elif style == "pickets":
        for x in np.arange(0.12, PANEL_M, 0.17):
            prop.box(one, material, (float(x), float(x) + 0.09), (-0.015, 0.015), (0.05, height))
        for z in (0.25, height - 0.2):
            prop.box(one, material, (0.0, PANEL_M), (0.02, 0.05), (z, z + 0.08))
    elif style == "rails":
        for z in np.linspace(0.3, height, 4):
            prop.box(one, material, (0.0, PANEL_M), (-0.03, 0.03), (float(z) - 0.06, float(z)))
    elif style == "mesh":
        wires = material._replace(dropout=0.1)
        for x in np.arange(0.1, PANEL_M, 0.2):
            prop.box(one, wires, (float(x), float(x) + 0.03), (-0.01, 0.01), (0.05, height))
        for z in np.arange(0.1, height + 0.05, 0.2):
            prop.box(one, wires, (0.0, PANEL_M), (-0.01, 0.01), (float(z), float(z) + 0.03))
    elif style == "guard":
        prop.box(one, material, (0.0, PANEL_M), (-0.04, 0.04), (0.45, 0.78))
    else:
        raise ValueError(f"style: {style!r} is no kind of fence")
    return prop


def shelter(rng: np.random.Generator, palette: Palette) -> Prop:
    """A bus shelter, open towards -y: raw id other-structure."""
    prop = Prop(size=(3.6, 1.4, 2.5))
    one = prop.instance(raw_ids.OTHER_STRUCTURE)
    frame, glass = palette.pick(rng, "metal", "painted"), palette.pick(rng, "glass")
    for x in (-1.8, 0.0, 1.8):
        prop.box(one, frame, (x - 0.05, x + 0.05), (1.25, 1.35), (0.0, 2.4))
    prop.box(one, frame, (-1.9, 1.9), (0.0, 1.4), (2.4, 2.5))
    prop.box(one, glass, (-1.8, 1.8), (1.28, 1.32), (0.3, 2.2))
    prop.box(one, glass, (1.78, 1.82), (0.2, 1.3), (0.3, 2.2))
    prop.box(one, frame, (-1.4, 1.0), (0.85, 1.2), (0.4, 0.48))
    return prop
