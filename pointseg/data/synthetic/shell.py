"""A room's floor, ceiling and walls with their doors, windows and pictures."""

from __future__ import annotations

import numpy as np

from pointseg.data.synthetic import nyu40
from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.openings import (
    WALL_THICKNESS_M,
    Opening,
    curtains,
    door,
    picture,
    window,
)
from pointseg.data.synthetic.palettes import Material, pick
from pointseg.data.synthetic.space import NUM_WALLS, NoPlaceError, Space, Volume


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


class Shell:
    """Collects a room's openings; :meth:`build` turns them into walls, floor and ceiling."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        self.space = space
        self.rng = rng
        self.openings: list[list[Opening]] = [[] for _ in range(NUM_WALLS)]
        self.wall_paint = pick(rng, "white", "white", "fabric", "painted")
        self.block: Volume | None = None

    def corner_block(self) -> None:
        """A chimney or shaft in one corner, part of the wall."""
        space, rng = self.space, self.rng
        w, d = _u(rng, 0.4, 0.9), _u(rng, 0.35, 0.7)
        corner = int(rng.integers(4))
        x = (0.0, w) if corner in (0, 3) else (space.width - w, space.width)
        y = (0.0, d) if corner in (0, 1) else (space.depth - d, space.depth)
        self.block = Volume(x, y, (0.0, space.height))
        space.taken.append(self.block)

    def _find_span(self, width: float, clearance: float, tries: int = 30) -> tuple[int, float]:
        """A wall and position where an opening of this width keeps clear of the others."""
        space, rng = self.space, self.rng
        for _ in range(tries):
            wall = int(rng.integers(NUM_WALLS))
            reach = width / 2 + clearance
            length = space.wall_length(wall)
            if length < 2 * reach:
                continue
            at = _u(rng, reach, length - reach)
            stretch = space.wall_volume(wall, (at - reach, at + reach), (0.0, 0.3), (0.0, 2.4))
            if not any(stretch.overlaps(other) for other in space.taken):
                return wall, at
        raise NoPlaceError(f"no wall has room for an opening {width:.2f} m wide")

    def add_door(self) -> None:
        """A door whose swing is kept free of furniture."""
        space, rng = self.space, self.rng
        opening_width = _u(rng, 0.85, 1.05)
        wall, at = self._find_span(opening_width, 0.15)
        opening = Opening(at, opening_width, 0.0, _u(rng, 2.0, 2.12))
        self.openings[wall].append(opening)
        x, y, yaw = space.on_wall(wall, at, 0.0)
        space.contents.add(door(rng, opening), (x, y, 0.0), yaw)
        half = opening_width / 2 + 0.05
        space.taken.append(space.wall_volume(wall, (at - half, at + half), (0.0, 0.95), (0.0, 2.2)))

    def add_window(self, hung: bool, small: bool = False, low: float | None = None) -> None:
        """A window, with curtains on one or both sides where ``hung``."""
        space, rng = self.space, self.rng
        width = _u(rng, 0.75, 1.0) if small else _u(rng, 1.0, 1.6)
        sill = low if low is not None else _u(rng, 0.8, 1.0)
        high = min(space.height - 0.22, sill + _u(rng, 0.85, 1.3))
        wall, at = self._find_span(width, 0.48 if hung else 0.12)
        opening = Opening(at, width, sill, high)
        self.openings[wall].append(opening)
        x, y, yaw = space.on_wall(wall, at, 0.0)
        space.contents.add(window(rng, opening), (x, y, 0.0), yaw)
        half = width / 2 + 0.08
        space.taken.append(
            space.wall_volume(wall, (at - half, at + half), (0.0, 0.22), (sill - 0.1, high + 0.1))
        )
        if not hung:
            return
        sides = ((True, True), (True, True), (True, False), (False, True))[int(rng.integers(4))]
        space.contents.add(curtains(rng, opening, sides), (x, y, 0.0), yaw)
        for side, there in zip((-1, 1), sides, strict=True):
            if there:
                span = sorted((at + side * (width / 2 + 0.08), at + side * (width / 2 + 0.46)))
                space.taken.append(
                    space.wall_volume(wall, (span[0], span[1]), (0.0, 0.28), (0.0, 2.4))
                )

    def add_pictures(self, count: int, must: bool) -> None:
        """Pictures on what is left of the walls; call it after the furniture is placed."""
        for i in range(count):
            self.space.against_wall(
                self.rng,
                picture(self.rng),
                must=must and i == 0,
                low=1.1,
                off=(0.0, 0.0),
                jitter=0.0,
                tries=60,
            )

    def build(self) -> None:
        """Add walls, floor and ceiling to the space's contents."""
        space, rng = self.space, self.rng
        room = space.contents
        t, w, d, h = WALL_THICKNESS_M, space.width, space.depth, space.height
        floor_cover = pick(rng, "wood", "wood", "tile", "fabric")
        floor = room.instance(nyu40.FLOOR)
        room.box(floor, floor_cover, (-t, w + t), (-t, d + t), (-0.1, 0.0))
        ceiling = room.instance(nyu40.CEILING)
        room.box(ceiling, pick(rng, "white"), (-t, w + t), (-t, d + t), (h, h + 0.1))
        for wall in range(NUM_WALLS):
            paint = self.wall_paint
            if rng.random() < 0.25:
                paint = pick(rng, "white", "fabric", "painted", "wood")
            stretch = _wall(space.wall_length(wall), h, self.openings[wall], paint)
            x, y, yaw = space.on_wall(wall, 0.0, 0.0)
            room.add(stretch, (x, y, 0.0), yaw)
        if self.block is not None:
            one = room.instance(nyu40.WALL)
            room.box(one, self.wall_paint, self.block.x, self.block.y, self.block.z)


def _wall(length: float, height: float, openings: list[Opening], paint: Material) -> Prop:
    """One wall as slabs around its openings, in the wall's own frame."""
    prop = Prop()
    one = prop.instance(nyu40.WALL)
    t = WALL_THICKNESS_M
    start = -t
    for opening in sorted(openings, key=lambda hole: hole.at):
        left, right = opening.at - opening.width / 2, opening.at + opening.width / 2
        prop.box(one, paint, (start, left), (-t, 0.0), (0.0, height))
        prop.box(one, paint, (left, right), (-t, 0.0), (opening.high, height))
        if opening.low > 0:
            prop.box(one, paint, (left, right), (-t, 0.0), (0.0, opening.low))
        start = right
    prop.box(one, paint, (start, length + t), (-t, 0.0), (0.0, height))
    return prop
