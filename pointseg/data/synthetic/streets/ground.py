"""The surface of road, sidewalks and lots as quadrilaterals, and the paint on the road."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import Material
from pointseg.data.synthetic.streets import raw_ids
from pointseg.data.synthetic.streets.course import Course
from pointseg.data.synthetic.streets.layout import EDGE_M, Kind, Layout
from pointseg.data.synthetic.streets.materials import Palette

_CELL_M = 1.0
_KERB_M = 0.03  # half width of a step in the ground
_PAINT_M = 0.012  # height of markings above the road
_GROUPS = {raw_ids.TERRAIN: "plant"}


def _lines(low: float, high: float, edges: list[float], step: float) -> np.ndarray:
    """Lattice lines: evenly spaced ones, and two close ones at every edge."""
    even = np.arange(low, high + step, step)
    steps = np.array(edges)
    near = np.abs(even[:, None] - steps[None, :]).min(1) < 0.3
    return np.unique(np.concatenate([even[~near], steps - _KERB_M, steps + _KERB_M]))


def _bumps(rng: np.random.Generator, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A smooth uneven surface, mostly within -1..1."""
    total = np.zeros(s.shape)
    for length in (1.7, 3.1, 7.3):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        along = s * np.cos(angle) + t * np.sin(angle)
        across = t * np.cos(angle) - s * np.sin(angle)
        total += np.sin(2 * np.pi * along / length + phase) * np.cos(4.1 * across / length)
    return total / 1.5


def _shared_base(material: Material, base: float, rng: np.random.Generator) -> Material:
    """A ground of its own, yet near to what the whole street is paved with."""
    r = min(1.0, (0.75 * base + 0.25 * material.rgb[0]) * float(rng.uniform(0.88, 1.12)))
    return material._replace(rgb=(r, r, r))


def add_ground(
    prop: Prop, rng: np.random.Generator, palette: Palette, course: Course, layout: Layout,
    start_m: float, end_m: float,
) -> None:  # fmt: skip
    """Add the ground between two arc lengths, with kerbs where heights differ.

    Lots of one class differ in material; neighbouring classes differ about as little.
    """
    edges_s = sorted({edge for lot in layout.lots for edge in (lot.start_m, lot.end_m)})
    edges_t = {
        side * out
        for side in (1, -1)
        for out in (layout.road_m, *(b.outer_m for t in layout.lots if t.side == side
                                     for b in t.bands if b.outer_m < EDGE_M))
    }  # fmt: skip
    edges_s = [edge for edge in edges_s if start_m < edge < end_m]
    s_lines = _lines(start_m, end_m, edges_s, _CELL_M)
    t_lines = _lines(-EDGE_M, EDGE_M, sorted(edges_t), 2 * _CELL_M)
    s, t = np.meshgrid(s_lines, t_lines, indexing="ij")
    label, height, bump = layout.ground(s, t)
    nodes = course.at(s, t)[..., :3]
    nodes[..., 2] += height + bump * _bumps(rng, s, t)
    corners = np.stack([nodes[:-1, :-1], nodes[1:, :-1], nodes[1:, 1:], nodes[:-1, 1:]], 2)
    # A step belongs to its upper side: kerbs to the sidewalk.
    around = np.stack([label[:-1, :-1], label[1:, :-1], label[1:, 1:], label[:-1, 1:]], -1)
    heights = np.stack([height[:-1, :-1], height[1:, :-1], height[1:, 1:], height[:-1, 1:]], -1)
    cell = np.take_along_axis(around, heights.argmax(-1)[..., None], -1)[..., 0]
    patch = np.searchsorted(np.array(edges_s), s[:-1, :-1] + _KERB_M) * 2 + (t[:-1, :-1] > 0)
    mineral = palette.pick(rng, "mineral").rgb[0]
    for one in np.unique(cell):
        instance = prop.instance(int(one))
        for lot in np.unique(patch[cell == one]) if one != raw_ids.ROAD else [None]:
            at = (cell == one) if lot is None else (cell == one) & (patch == lot)
            material = palette.pick(rng, _GROUPS.get(int(one), "mineral"))
            if one != raw_ids.TERRAIN:
                material = _shared_base(material, mineral, rng)
            prop.add_quads(instance, material, corners[at])


def add_markings(
    prop: Prop, rng: np.random.Generator, palette: Palette, course: Course, layout: Layout,
    start_m: float, end_m: float,
) -> None:  # fmt: skip
    """Add a dashed middle line, on some streets edge lines, and crossings before side roads."""
    strokes: list[tuple[float, float, float, float]] = []  # s, s, t, t
    dash, gap = float(rng.uniform(2.5, 4.0)), float(rng.uniform(3.0, 6.0))
    wide = float(rng.uniform(0.06, 0.10))
    strokes += [(s, s + dash, -wide, wide) for s in np.arange(start_m, end_m - dash, dash + gap)]
    if rng.random() < 0.5:
        edge = layout.road_m - 0.35
        for s in np.arange(start_m, end_m - 2.0, 2.0):
            strokes += [(s, s + 2.0, t - wide, t + wide) for t in (-edge, edge)]
    for lot in layout.lots:
        if lot.kind is Kind.SIDE_ROAD and start_m < lot.start_m - 8.0:
            at = lot.start_m - 6.0
            middles = np.arange(-layout.road_m + 0.5, layout.road_m - 0.3, 1.0)
            strokes += [(at, at + 3.0, float(t) - 0.25, float(t) + 0.25) for t in middles]
    measures = np.array(strokes)
    s = measures[:, [0, 1, 1, 0]]
    t = measures[:, [2, 2, 3, 3]]
    corners = course.at(s, t)[..., :3]
    corners[..., 2] += layout.ground(s, t)[1] + _PAINT_M
    instance = prop.instance(raw_ids.LANE_MARKING)
    prop.add_quads(instance, palette.pick(rng, "painted", "reflector"), corners)
