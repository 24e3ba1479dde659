"""What stands where: seven recipes for furnished rooms.

Recipes take turns by the room's index, and what a recipe must hold is placed before anything
else, so that every class occurs often in any run of consecutive rooms.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.bathroom import bathtub, toilet, wash_basin
from pointseg.data.synthetic.clutter import (
    bag,
    bin_,
    floor_box,
    floor_lamp,
    hung_panel,
    mat,
    plant,
    radiator,
    television,
    towels,
)
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.seating import bed, chair, pouf, sofa
from pointseg.data.synthetic.shell import Shell
from pointseg.data.synthetic.space import NoPlaceError, Space
from pointseg.data.synthetic.storage import (
    bookshelf,
    cabinet,
    clothes_rack,
    night_stand,
    refrigerator,
    wall_cabinet,
)
from pointseg.data.synthetic.surfaces import coffee_table, counter, desk, dining_group

LAYOUT_ATTEMPTS = 40


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def start_room(
    rng: np.random.Generator,
    scale: float,
    width: tuple[float, float],
    depth: tuple[float, float],
    doors: int = 1,
) -> Shell:
    """An empty room of a size within these ranges, times ``scale``, with doors."""
    space = Space(_u(rng, *width) * scale, _u(rng, *depth) * scale, _u(rng, 2.35, 2.65))
    shell = Shell(space, rng)
    if rng.random() < 0.3:
        shell.corner_block()
    for _ in range(doors):
        shell.add_door()
    return shell


def add_odds(space: Space, rng: np.random.Generator, count: int) -> None:
    """Ignored things along the walls and on the floor."""
    makers = (floor_box, bag, bin_, plant, floor_lamp, floor_box)
    for _ in range(count):
        prop = makers[int(rng.integers(len(makers)))](rng)
        if rng.random() < 0.7:
            space.against_wall(rng, prop, off=(0.02, 0.15), jitter=0.4, tries=12)
        else:
            space.in_the_open(rng, prop, tries=8)


def _rug(space: Space, rng: np.random.Generator) -> None:
    w, d = _u(rng, 1.2, 2.0), _u(rng, 0.9, 1.5)
    x, y = _u(rng, 1.1, space.width - 1.1), _u(rng, 1.1, space.depth - 1.1)
    space.contents.add(mat(rng, w, d), (x, y - d / 2, 0.0), _u(rng, -0.2, 0.2))


def _other_furniture(space: Space, rng: np.random.Generator, must: bool = True) -> None:
    if rng.random() < 0.5:
        space.against_wall(rng, clothes_rack(rng), must=must, off=(0.03, 0.2), jitter=0.1)
    else:
        space.in_the_open(rng, pouf(rng), must=must)


def _beds(space: Space, rng: np.random.Generator, twin: bool) -> None:
    widths = [_u(rng, 0.92, 1.1)] * 2 if twin else [None]
    for width in widths:
        piece = bed(rng, width)
        found = space.against_wall(rng, piece, must=True, off=(0.0, 0.04), jitter=0.02, tries=80)
        assert found is not None
        wall, along = found
        for side in (-1, 1):
            if rng.random() < 0.65:
                stand = night_stand(rng)
                reach = piece.size[0] / 2 + stand.size[0] / 2 + 0.09
                space.at_wall(stand, wall, along + side * reach)


def bedroom(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (3.5, 4.6), (3.3, 4.3))
    space = shell.space
    for _ in range(1 + int(rng.random() < 0.4)):
        shell.add_window(hung=True)
    _beds(space, rng, twin=turn % 2 == 1)
    space.against_wall(rng, cabinet(rng, "tall"), must=True)
    space.against_wall(rng, desk(rng), must=True, off=(0.0, 0.05))
    if rng.random() < 0.5:
        space.against_wall(rng, bookshelf(rng))
    _other_furniture(space, rng)
    shell.add_pictures(1 + int(rng.random() < 0.7), must=True)
    if rng.random() < 0.5:
        _rug(space, rng)
    add_odds(space, rng, int(rng.integers(1, 5)))
    return shell


def living(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (4.2, 5.2), (3.7, 4.6), doors=1 + int(rng.random() < 0.4))
    space = shell.space
    for _ in range(1 + int(rng.random() < 0.6)):
        shell.add_window(hung=True)
    space.against_wall(rng, sofa(rng), must=True, off=(0.02, 0.12))
    if rng.random() < 0.7:
        space.against_wall(rng, sofa(rng), must=True, off=(0.02, 0.3))
    else:
        space.in_the_open(rng, sofa(rng), must=True)
    space.in_the_open(rng, coffee_table(rng), must=True, margin=0.12)
    space.against_wall(rng, bookshelf(rng), must=True)
    low = cabinet(rng, "low")
    found = space.against_wall(rng, low, must=True)
    if found is not None and rng.random() < 0.7:
        x, y, yaw = space.on_wall(found[0], found[1], 0.15)
        space.contents.add(television(rng), (x, y, low.size[2]), yaw)
    _other_furniture(space, rng)
    if rng.random() < 0.5:
        space.in_the_open(rng, pouf(rng))
    if rng.random() < 0.5:
        space.in_the_open(rng, chair(rng))
    shell.add_pictures(2 + int(rng.random() < 0.6), must=True)
    if rng.random() < 0.6:
        _rug(space, rng)
    add_odds(space, rng, int(rng.integers(1, 5)))
    return shell


def _kitchen_line(rng: np.random.Generator, width: float) -> Prop:
    """A counter with wall cabinets above and a refrigerator at one end."""
    cold = refrigerator(rng)
    gap = _u(rng, 0.03, 0.12)
    total = width + gap + cold.size[0]
    line = Prop(size=(total, 0.78, 2.2))
    side = 1 if rng.random() < 0.5 else -1
    at = side * (total / 2 - width / 2)
    line.add(counter(rng, width, with_sink=True), (at, 0.0, 0.0))
    line.add(wall_cabinet(rng, width * _u(rng, 0.7, 1.0)), (at, 0.0, 0.0))
    line.add(cold, (-side * (total / 2 - cold.size[0] / 2), 0.0, 0.0))
    return line


def kitchen(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (3.5, 4.8), (3.1, 4.0), doors=1 + int(rng.random() < 0.3))
    space = shell.space
    space.against_wall(
        rng, _kitchen_line(rng, _u(rng, 1.7, 2.4)), must=True, off=(0.0, 0.01), jitter=0.0
    )
    shell.add_window(hung=bool(rng.random() < 0.3), small=True, low=_u(rng, 1.1, 1.2))
    if rng.random() < 0.6:
        extra = counter(rng, _u(rng, 1.1, 1.7), with_sink=False)
        extra.size = (extra.size[0], extra.size[1], 0.99)
        space.against_wall(rng, extra, off=(0.0, 0.01), jitter=0.0)
    space.in_the_open(
        rng, dining_group(rng, int(rng.integers(2, 5))), must=True, margin=0.02, turns=0.4,
        base_yaw=float(rng.integers(4)) * np.pi / 2,
    )  # fmt: skip
    if rng.random() < 0.5:
        space.against_wall(rng, cabinet(rng, "tall" if rng.random() < 0.5 else "narrow"))
    shell.add_pictures(1, must=False)
    add_odds(space, rng, int(rng.integers(1, 4)))
    return shell


def bathroom(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (2.6, 3.4), (2.3, 3.0))
    space = shell.space
    space.against_wall(
        rng, bathtub(rng, _u(rng, 1.5, 1.75)), must=True, corner=True, off=(0.0, 0.0), jitter=0.0,
        margin=0.0,
    )  # fmt: skip
    space.against_wall(rng, toilet(rng), must=True, off=(0.0, 0.02), jitter=0.02, margin=0.08)
    basin = wash_basin(rng)
    found = space.against_wall(rng, basin, must=True, off=(0.0, 0.0), jitter=0.0, margin=0.08)
    if found is not None and rng.random() < 0.7:
        x, y, yaw = space.on_wall(found[0], found[1], 0.0)
        glass = hung_panel(rng, nyu40.MIRROR, basin.size[0], _u(rng, 0.5, 0.8), 1.15)
        space.at_wall(glass, found[0], found[1], 0.0, low=1.12, margin=0.0)
    if rng.random() < 0.35:
        space.against_wall(rng, wash_basin(rng), off=(0.0, 0.0), jitter=0.0, margin=0.08)
    if rng.random() < 0.7:
        space.against_wall(rng, cabinet(rng, "narrow"))
    with contextlib.suppress(NoPlaceError):
        shell.add_window(hung=False, small=True, low=_u(rng, 1.15, 1.3))
    if rng.random() < 0.6:
        space.against_wall(rng, towels(rng), low=0.65, off=(0.0, 0.0), jitter=0.0)
    if rng.random() < 0.4:
        shell.add_pictures(1, must=False)
    if rng.random() < 0.5:
        space.in_the_open(rng, mat(rng, 0.7, 0.45))
    add_odds(space, rng, int(rng.integers(0, 3)))
    return shell


def studio(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (4.8, 5.8), (4.2, 5.0))
    space = shell.space
    shell.add_window(hung=True)
    space.against_wall(
        rng, _kitchen_line(rng, _u(rng, 1.4, 1.8)), must=True, off=(0.0, 0.01), jitter=0.0
    )
    _beds(space, rng, twin=False)
    space.against_wall(rng, sofa(rng), must=True, off=(0.02, 0.15))
    space.in_the_open(
        rng, dining_group(rng, int(rng.integers(1, 4))), must=True, margin=0.02, turns=0.5,
        base_yaw=float(rng.integers(4)) * np.pi / 2,
    )  # fmt: skip
    space.against_wall(rng, bookshelf(rng), must=True)
    _other_furniture(space, rng)
    if rng.random() < 0.5:
        space.against_wall(rng, cabinet(rng, "tall" if rng.random() < 0.5 else "low"))
    shell.add_pictures(2, must=True)
    add_odds(space, rng, int(rng.integers(1, 4)))
    return shell


def office(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (3.9, 5.2), (3.4, 4.4), doors=1 + int(rng.random() < 0.3))
    space = shell.space
    shell.add_window(hung=True)
    for _ in range(2):
        space.against_wall(rng, desk(rng), must=True, off=(0.0, 0.1))
    space.against_wall(rng, bookshelf(rng), must=True)
    space.against_wall(rng, cabinet(rng, "low"), must=True)
    if rng.random() < 0.5:
        space.in_the_open(rng, dining_group(rng, int(rng.integers(2, 5))), turns=0.5)
    if rng.random() < 0.6:
        space.against_wall(rng, bookshelf(rng))
    _other_furniture(space, rng)
    if rng.random() < 0.5:
        board = hung_panel(rng, nyu40.WHITEBOARD, _u(rng, 1.0, 1.6), _u(rng, 0.8, 1.0), 1.0)
        space.against_wall(rng, board, low=0.95, off=(0.0, 0.0), jitter=0.0)
    shell.add_pictures(1 + int(rng.random() < 0.5), must=True)
    if rng.random() < 0.5:
        space.against_wall(rng, radiator(rng, _u(rng, 0.7, 1.1)), off=(0.0, 0.01), jitter=0.0)
    add_odds(space, rng, int(rng.integers(1, 5)))
    return shell


Recipe = Callable[[np.random.Generator, float, int], Shell]

RECIPES: tuple[tuple[str, Recipe], ...] = (
    ("Bedroom / Hotel", bedroom),
    ("Bathroom", bathroom),
    ("Kitchen", kitchen),
    ("Living room / Lounge", living),
    ("Bathroom", bathroom),
    ("Apartment", studio),
    ("Office", office),
)
"""ScanNet scene type and recipe, by index modulo their number."""


@dataclass(frozen=True)
class Room:
    """A furnished room: everything in it, in a frame with a corner at the origin, z up, metres."""

    scene_type: str
    space: Space


def furnish(seed: int, index: int, recipes: Sequence[tuple[str, Recipe]] = RECIPES) -> Room:
    """Lay out room ``index`` of a seed by one of the recipes; depends on these alone.

    A layout in which something essential finds no place is drawn again, in a slightly larger room.

    Raises:
        RuntimeError: no layout was found (does not happen for the recipes as they are).
    """
    scene_type, recipe = recipes[index % len(recipes)]
    for attempt in range(LAYOUT_ATTEMPTS):
        rng = np.random.default_rng((seed, index, attempt))
        try:
            shell = recipe(rng, 1.0 + 0.01 * attempt, index // len(recipes))
        except NoPlaceError:
            continue
        shell.build()
        return Room(scene_type, shell.space)
    raise RuntimeError(f"room {index} of seed {seed}: no layout in {LAYOUT_ATTEMPTS} attempts")
