"""A whole street: its plan, its static mesh and its traffic, all from (seed, number)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pointseg.data.synthetic.mesh import Prop, TriangleMesh, build_mesh
from pointseg.data.synthetic.streets import buildings, furniture, people, plants
from pointseg.data.synthetic.streets.course import Course
from pointseg.data.synthetic.streets.drive import Drive, draw_drive, driven_m
from pointseg.data.synthetic.streets.ground import add_ground, add_markings
from pointseg.data.synthetic.streets.layout import Kind, Layout, Lot, draw_layout
from pointseg.data.synthetic.streets.lots import furnish
from pointseg.data.synthetic.streets.materials import Palette
from pointseg.data.synthetic.streets.raw_ids import THINGS
from pointseg.data.synthetic.streets.scenery import Scenery
from pointseg.data.synthetic.streets.traffic import Mover, draw_traffic

MARGIN_M = 70.0
"""How far a street goes on before the first and after the last scan."""


@dataclass(frozen=True)
class Plan:
    """Where a street runs, what lies beside it and how it is driven."""

    course: Course
    layout: Layout
    drive: Drive
    start_m: float
    end_m: float


@dataclass(frozen=True, eq=False)
class Street:
    """A furnished street.

    ``mesh`` holds all that stands still; its ``instances`` are 0 for stuff and 1, 2, ... for
    things. ``movers`` are numbered on from ``num_things`` + 1.
    """

    plan: Plan
    mesh: TriangleMesh
    num_things: int
    movers: tuple[Mover, ...]


def plan_street(seed: int, number: int, num_scans: int) -> Plan:
    """Plan street ``number`` of a seed for a drive of ``num_scans`` scans; cheap."""
    rng = np.random.default_rng((seed, number, 0))
    path = float(driven_m(num_scans)[-1])
    start, end = -MARGIN_M, path + MARGIN_M
    course = Course.draw(rng, start - 5.0, end + 25.0)
    layout = draw_layout(rng, start, end, path)
    return Plan(course, layout, draw_drive(rng, course, layout, num_scans), start, end)


def build_street(seed: int, number: int, num_scans: int) -> Street:
    """Build street ``number`` of a seed; the same arrays every time."""
    plan = plan_street(seed, number, num_scans)
    rng = np.random.default_rng((seed, number, 1))
    palette = Palette.draw(rng)
    scenery = Scenery(plan.course, plan.layout, palette, rng)
    ground = (rng, palette, plan.course, plan.layout, plan.start_m, plan.end_m)
    add_ground(scenery.contents, *ground)
    add_markings(scenery.contents, *ground)
    _line_sidewalks(scenery, plan)
    for lot in plan.layout.lots:
        furnish(scenery, lot)
    things = _thing_ids(scenery.contents)
    mesh = build_mesh(scenery.contents, 0.0, (0.0, 0.0, 0.0))
    movers = draw_traffic(rng, palette, plan.layout, plan.drive)
    mesh = replace(mesh, instances=things[mesh.instances])
    return Street(plan, mesh, int(things.max(initial=0)), movers)


def _thing_ids(prop: Prop) -> np.ndarray:
    """Instance ids int32, one an instance of a prop: 0 for stuff, 1, 2, ... for things."""
    is_thing = np.array([label in THINGS for label in prop.labels], bool)
    return np.where(is_thing, np.cumsum(is_thing), 0).astype(np.int32)


def _line_sidewalks(scenery: Scenery, plan: Plan) -> None:
    """Lamps at a spacing, and signs, boards, shelters, persons and things now and then."""
    rng, palette = scenery.rng, scenery.palette
    spacing = scenery.uniform(18.0, 28.0)
    for side, measures in plan.layout.sides.items():
        lots = [t for t in plan.layout.lots if t.side == side and t.kind is not Kind.SIDE_ROAD]
        kerb = measures.walk_from_m + 0.35
        for s in np.arange(plan.start_m + scenery.uniform(0, spacing), plan.end_m, spacing):
            lot = next((t for t in lots if t.start_m + 0.5 < s < t.end_m - 0.5), None)
            if lot is not None and scenery.reserve(float(s), side * kerb, 0.4):
                scenery.put_on(lot, furniture.lamp(rng, palette), float(s), kerb)
        for lot in lots:
            draw, at = rng.random(5), (kerb, kerb + 0.2)
            if draw[0] < 0.45:
                _stand(scenery, lot, furniture.sign(rng, palette), at, 0.3)
            elif draw[0] < 0.6:
                _stand(scenery, lot, furniture.direction_board(rng, palette), at, 0.8)
            if draw[1] < 0.4:
                back = (measures.walk_to_m - 0.5, measures.walk_to_m - 0.4)
                _stand(scenery, lot, furniture.small_thing(rng, palette), back, 0.6)
            if draw[2] < 0.2:
                walk = (measures.walk_from_m + 0.8, measures.walk_to_m - 0.3)
                turn = scenery.uniform(0, 6.28)
                _stand(scenery, lot, people.person(rng, palette), walk, 0.4, turn)
            if draw[4] < 0.4:
                make = people.bicycle if draw[4] < 0.2 else people.motorcycle
                turn = 0.1 + np.pi * int(rng.integers(2))
                _stand(scenery, lot, make(rng, palette), at, 0.8, turn)
            if draw[3] < 0.15 and measures.walk_m > 2.8:
                back = (measures.walk_to_m - 1.5, measures.walk_to_m - 1.4)
                _stand(scenery, lot, buildings.shelter(rng, palette), back, 1.8)
            elif draw[3] < 0.35 and measures.walk_m > 2.4:
                _stand(scenery, lot, plants.tree(rng, palette), (kerb + 0.1, kerb + 0.3), 0.6)


def _stand(
    scenery: Scenery, lot: Lot, prop: Prop, out: tuple[float, float], radius: float,
    yaw: float = 0.0,
) -> None:  # fmt: skip
    """Put a prop on a free place of a lot between two distances, if there is one."""
    spot = scenery.spot(lot, out, radius)
    if spot is not None:
        scenery.put_on(lot, prop, *spot, yaw)
