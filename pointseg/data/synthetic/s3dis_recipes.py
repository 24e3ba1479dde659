"""Rooms of an office building, with what S3DIS names and homes lack: boards, beams and columns."""

from __future__ import annotations

import itertools

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.clutter import hung_panel
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.palettes import hard, pick
from pointseg.data.synthetic.rooms import Recipe, add_odds, kitchen, living, office, start_room
from pointseg.data.synthetic.seating import chair
from pointseg.data.synthetic.shell import Shell
from pointseg.data.synthetic.space import NoPlaceError, Space, Volume
from pointseg.data.synthetic.storage import bookshelf, cabinet
from pointseg.data.synthetic.surfaces import conference_table


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def add_beam(space: Space, rng: np.random.Generator, tries: int = 30) -> None:
    """A beam below the ceiling, from wall to wall, where nothing is in its way.

    Raises:
        NoPlaceError: there is no such place.
    """
    for _ in range(tries):
        along_x = bool(rng.random() < 0.5)
        half, low = _u(rng, 0.1, 0.2), space.height - _u(rng, 0.2, 0.4)
        length, room = (space.width, space.depth) if along_x else (space.depth, space.width)
        at = _u(rng, half, room - half)
        span = (at - half, at + half)
        x, y = ((0.0, length), span) if along_x else (span, (0.0, length))
        volume = Volume(x, y, (low, space.height))
        if space.is_free(volume):
            one = space.contents.instance(nyu40.BEAM)
            space.contents.box(one, pick(rng, "white", "painted", "wood"), x, y, volume.z)
            space.taken.append(volume)
            return
    raise NoPlaceError("no place for a beam")


def add_column(space: Space, rng: np.random.Generator) -> None:
    """A column from floor to ceiling, round or square, half in a wall or in the open.

    Raises:
        NoPlaceError: there is no place.
    """
    w = _u(rng, 0.28, 0.5)
    prop = Prop(size=(w, w, space.height))
    one = prop.instance(nyu40.COLUMN)
    paint = pick(rng, "white", "painted", "fabric")
    if rng.random() < 0.4:
        prop.tube(one, paint, (0.0, w / 2), (0.0, space.height), w / 2)
    else:
        prop.box(one, paint, (-w / 2, w / 2), (0.0, w), (0.0, space.height))
    if rng.random() < 0.6:
        space.against_wall(rng, prop, must=True, off=(0.0, 0.0), jitter=0.0)
    else:
        space.in_the_open(rng, prop, must=True, turns=0.0)


def add_boards(space: Space, rng: np.random.Generator, count: int) -> None:
    """Whiteboards in thin frames with a tray; the first must find a place."""
    for i in range(count):
        w, h, low = _u(rng, 1.1, 2.0), _u(rng, 0.9, 1.2), _u(rng, 0.85, 1.0)
        board = hung_panel(rng, nyu40.WHITEBOARD, w, h, low)
        tray = hard(rng)
        board.box(0, tray, (-w / 2, w / 2), (0.0, 0.09), (low - 0.03, low))
        for x in ((-w / 2 - 0.03, -w / 2), (w / 2, w / 2 + 0.03)):
            board.box(0, tray, x, (0.0, 0.04), (low, low + h))
        board.size = (w + 0.06, 0.09, low + h)
        space.against_wall(
            rng, board, must=i == 0, low=low - 0.03, off=(0.0, 0.0), jitter=0.0, tries=80
        )


def _add_structure(shell: Shell, rng: np.random.Generator, turn: int) -> None:
    """A beam and a column by turns, so that both occur in any run of rooms; at times both.

    Raises:
        NoPlaceError: there is no place for them, or two doors would meet when they open.
    """
    if any(a.overlaps(b) for a, b in itertools.combinations(shell.space.taken, 2)):
        raise NoPlaceError("two doors would meet when they open")
    both = rng.random() < 0.3
    if turn % 2 == 0 or both:
        add_beam(shell.space, rng)
    if turn % 2 == 1 or both:
        add_column(shell.space, rng)


def study(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    """An office with a board."""
    shell = office(rng, 1.1 * scale, turn)
    add_boards(shell.space, rng, 1)
    _add_structure(shell, rng, turn)
    return shell


def conference_room(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (4.6, 6.2), (3.9, 4.9), doors=1 + int(rng.random() < 0.4))
    space = shell.space
    shell.add_window(hung=False)
    table = conference_table(rng, int(rng.integers(6, 11)))
    space.in_the_open(rng, table, must=True, margin=0.05, turns=0.06, tries=80)
    add_boards(space, rng, 1 + int(rng.random() < 0.5))
    _add_structure(shell, rng, turn)
    for _ in range(int(rng.integers(0, 4))):
        space.against_wall(rng, chair(rng), off=(0.05, 0.2), jitter=0.4)
    if rng.random() < 0.4:
        space.against_wall(rng, cabinet(rng, "low"))
    add_odds(space, rng, int(rng.integers(1, 4)))
    return shell


def hallway(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    """Long and narrow, with doors; a beam across and, where there is room, a column."""
    shell = start_room(rng, scale, (5.5, 8.0), (2.0, 2.6), doors=3 + int(rng.random() < 0.5))
    space = shell.space
    add_beam(space, rng)
    _add_structure(shell, rng, turn)
    if rng.random() < 0.5:
        add_boards(space, rng, 1)
    shell.add_pictures(int(rng.integers(0, 3)), must=False)
    if rng.random() < 0.5:
        space.against_wall(rng, bookshelf(rng))
    add_odds(space, rng, int(rng.integers(1, 4)))
    return shell


def lounge(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    """A living room with beam or column."""
    shell = living(rng, 1.1 * scale, turn)
    _add_structure(shell, rng, turn)
    return shell


def pantry(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    """A kitchen with beam or column."""
    shell = kitchen(rng, 1.1 * scale, turn)
    _add_structure(shell, rng, turn)
    return shell


def storage(rng: np.random.Generator, scale: float, turn: int) -> Shell:
    shell = start_room(rng, scale, (2.9, 4.0), (2.5, 3.4))
    space = shell.space
    for _ in range(2):
        space.against_wall(rng, bookshelf(rng), must=True)
    space.against_wall(rng, cabinet(rng, "tall" if rng.random() < 0.5 else "narrow"), must=True)
    _add_structure(shell, rng, turn)
    add_odds(space, rng, int(rng.integers(4, 9)))
    return shell


RECIPES: tuple[tuple[str, Recipe], ...] = (
    ("office", study),
    ("conferenceRoom", conference_room),
    ("hallway", hallway),
    ("lounge", lounge),
    ("pantry", pantry),
    ("storage", storage),
)
"""S3DIS's room type and recipe, by index modulo their number."""
