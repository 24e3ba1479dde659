"""A room's free space: its walls, and finding places for furniture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pointseg.data.synthetic.mesh import Prop

NUM_WALLS = 4
_WALL_YAW = (0.0, np.pi / 2, np.pi, -np.pi / 2)


class NoPlaceError(Exception):
    """A piece that the room must have found no place; the layout is drawn again."""


@dataclass(frozen=True)
class Volume:
    """An axis-aligned box in the room's frame, in metres."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]

    def overlaps(self, other: Volume) -> bool:
        return (
            self.x[0] < other.x[1]
            and other.x[0] < self.x[1]
            and self.y[0] < other.y[1]
            and other.y[0] < self.y[1]
            and self.z[0] < other.z[1]
            and other.z[0] < self.z[1]
        )


@dataclass
class Space:
    """Room of ``width`` x ``depth`` x ``height`` metres, its contents and what they occupy.

    Walls 0..3 lie at y = 0, x = width, y = depth and x = 0. ``on_wall`` turns (wall, position along
    it, distance from it) into room coordinates and a yaw that faces into the room.
    """

    width: float
    depth: float
    height: float
    contents: Prop = field(default_factory=Prop)
    taken: list[Volume] = field(default_factory=list)

    def wall_length(self, wall: int) -> float:
        return self.width if wall % 2 == 0 else self.depth

    def on_wall(self, wall: int, along: float, off: float) -> tuple[float, float, float]:
        """Room x, y and yaw of a frame on a wall, ``off`` metres away from it."""
        x, y = (
            (along, off),
            (self.width - off, along),
            (self.width - along, self.depth - off),
            (off, self.depth - along),
        )[wall]
        return x, y, float(_WALL_YAW[wall])

    def wall_volume(
        self, wall: int, along: tuple[float, float], off: tuple[float, float],
        z: tuple[float, float],
    ) -> Volume:  # fmt: skip
        """The volume in front of (or inside) a stretch of wall."""
        x0, y0, _ = self.on_wall(wall, along[0], off[0])
        x1, y1, _ = self.on_wall(wall, along[1], off[1])
        return Volume((min(x0, x1), max(x0, x1)), (min(y0, y1), max(y0, y1)), z)

    def footprint(self, prop: Prop, x: float, y: float, yaw: float) -> Volume:
        """Axis-aligned bounds of a prop at a pose."""
        w, d, h = prop.size
        cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
        xs = [cos * a - sin * b for a in (-w / 2, w / 2) for b in (0.0, d)]
        ys = [sin * a + cos * b for a in (-w / 2, w / 2) for b in (0.0, d)]
        return Volume((x + min(xs), x + max(xs)), (y + min(ys), y + max(ys)), (0.0, h))

    def is_free(self, volume: Volume) -> bool:
        """Inside the room and clear of everything taken."""
        return self._clear(volume, volume)

    def put(self, prop: Prop, x: float, y: float, yaw: float, volume: Volume | None) -> None:
        """Add a prop at a pose and reserve its volume."""
        self.contents.add(prop, (x, y, 0.0), yaw)
        if volume is not None:
            self.taken.append(volume)

    def against_wall(
        self,
        rng: np.random.Generator,
        prop: Prop,
        must: bool = False,
        walls: tuple[int, ...] | None = None,
        corner: bool = False,
        low: float = 0.0,
        off: tuple[float, float] = (0.01, 0.06),
        jitter: float = 0.03,
        margin: float = 0.04,
        tries: int = 40,
    ) -> tuple[int, float] | None:
        """Put a prop with its back to a wall at a random free place.

        ``corner`` pushes it into a corner; ``low`` is the height above which it takes space (for
        things that hang). Returns (wall, position along it), or None where nothing was found.

        Raises:
            NoPlaceError: nothing was found and the prop ``must`` be there.
        """
        options = walls if walls is not None else tuple(range(NUM_WALLS))
        half = prop.size[0] / 2
        for _ in range(tries):
            wall = options[int(rng.integers(len(options)))]
            reach = self.wall_length(wall) - 2 * half - 0.06
            if reach <= 0:
                continue
            share = float(rng.integers(0, 2)) if corner else float(rng.random())
            along = 0.03 + half + reach * share
            turn = float(rng.uniform(-jitter, jitter))
            if self.at_wall(prop, wall, along, float(rng.uniform(*off)), turn, low, margin):
                return wall, along
        if must:
            raise NoPlaceError(f"no wall place for a piece of size {prop.size}")
        return None

    def at_wall(
        self,
        prop: Prop,
        wall: int,
        along: float,
        off: float = 0.02,
        turn: float = 0.0,
        low: float = 0.0,
        margin: float = 0.04,
    ) -> bool:
        """Put a prop at one place of a wall, if that is free."""
        clear = off + prop.size[0] / 2 * abs(float(np.sin(turn)))
        x, y, yaw = self.on_wall(wall, along, clear)
        tight = self.footprint(prop, x, y, yaw + turn)
        reserved = Volume(
            (max(tight.x[0] - margin, 0.0), min(tight.x[1] + margin, self.width)),
            (max(tight.y[0] - margin, 0.0), min(tight.y[1] + margin, self.depth)),
            (low, prop.size[2]),
        )
        if not self._clear(tight, reserved):
            return False
        self.put(prop, x, y, yaw + turn, reserved)
        return True

    def _clear(self, tight: Volume, reserved: Volume) -> bool:
        inside = (
            tight.x[0] >= 0.0
            and tight.y[0] >= 0.0
            and tight.x[1] <= self.width
            and tight.y[1] <= self.depth
        )
        return inside and not any(reserved.overlaps(other) for other in self.taken)

    def in_the_open(
        self,
        rng: np.random.Generator,
        prop: Prop,
        must: bool = False,
        margin: float = 0.08,
        turns: float = np.pi,
        base_yaw: float = 0.0,
        region: Volume | None = None,
        tries: int = 40,
    ) -> bool:
        """Put a prop anywhere on free floor, turned by up to ``turns`` from ``base_yaw``.

        Raises:
            NoPlaceError: nothing was found and the prop ``must`` be there.
        """
        x_range = region.x if region is not None else (0.0, self.width)
        y_range = region.y if region is not None else (0.0, self.depth)
        for _ in range(tries):
            yaw = base_yaw + float(rng.uniform(-turns, turns))
            x, y = float(rng.uniform(*x_range)), float(rng.uniform(*y_range))
            cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
            # (x, y) is the footprint's middle; the prop's origin is the middle of its back.
            back = prop.size[1] / 2
            x, y = x + sin * back, y - cos * back
            tight = self.footprint(prop, x, y, yaw)
            volume = Volume(
                (tight.x[0] - margin, tight.x[1] + margin),
                (tight.y[0] - margin, tight.y[1] + margin),
                tight.z,
            )
            if self.is_free(volume):
                self.put(prop, x, y, yaw, volume)
                return True
        if must:
            raise NoPlaceError(f"no floor place for a piece of size {prop.size}")
        return False
