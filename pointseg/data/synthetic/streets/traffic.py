"""Everybody who moves while a street is scanned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.streets import people, vehicles
from pointseg.data.synthetic.streets.drive import Drive
from pointseg.data.synthetic.streets.layout import Layout
from pointseg.data.synthetic.streets.materials import Palette
from pointseg.data.synthetic.streets.raw_ids import MOVING

_STRETCH_M = 25.0
"""Length of the drive on which the movers of one list are met."""

_Maker = Callable[[np.random.Generator, Palette], Prop]


@dataclass(frozen=True, eq=False)
class Mover:
    """A thing that moves straight in street coordinates: (s, t) at time 0 and metres per second.

    ``prop`` is one instance.
    """

    prop: Prop
    start: tuple[float, float]
    velocity: tuple[float, float]

    def place(self, time_s: float) -> tuple[float, float]:
        """Where it is, (s, t)."""
        return (
            self.start[0] + self.velocity[0] * time_s,
            self.start[1] + self.velocity[1] * time_s,
        )


class _Lane(NamedTuple):
    """How a kind of mover goes: distance t, speed along s and across it, and its length."""

    t: float
    speed: tuple[float, float]
    length_m: float
    across: float = 0.0


class _Track(NamedTuple):
    """Where something is at every scan, float64 [K] each, and its length."""

    s: np.ndarray
    t: np.ndarray
    length_m: float

    def meets(self, other: _Track) -> bool:
        """Whether the two ever come into each other's way."""
        room = (self.length_m + other.length_m) / 2 + 1.0
        near = (np.abs(self.s - other.s) < room) & (np.abs(self.t - other.t) < 1.7)
        return bool(near.any())


def _moving(prop: Prop) -> Prop:
    """The prop, its instances of the classes of moving things."""
    return replace(prop, labels=[MOVING.get(label, label) for label in prop.labels])


def draw_traffic(
    rng: np.random.Generator, palette: Palette, layout: Layout, drive: Drive
) -> tuple[Mover, ...]:
    """Movers that come near the sensor, each at a moment of its own, without running into others.

    Who finds no free moment in a few tries stays away.
    """
    lane = layout.road_m / 2
    tracks = [_Track(drive.s_m, np.full(len(drive.s_m), -lane), 5.0)]
    movers = []
    stretches = max(1, round(float(drive.s_m[-1]) / _STRETCH_M))
    for make, way in [one for _ in range(stretches) for one in _wanted(rng, layout)]:
        for _ in range(12):
            start, velocity = _passage(rng, way, drive)
            track = _Track(
                start[0] + velocity[0] * drive.times_s,
                start[1] + velocity[1] * drive.times_s,
                way.length_m,
            )
            if not any(track.meets(other) for other in tracks):
                tracks.append(track)
                movers.append(Mover(_moving(make(rng, palette)), start, velocity))
                break
    return tuple(movers)


def _wanted(rng: np.random.Generator, layout: Layout) -> list[tuple[_Maker, _Lane]]:
    """Who is to move, and how; the rarest first."""
    lane, kerb = layout.road_m / 2, layout.road_m - 0.7
    ahead, oncoming = _Lane(-lane, (7.0, 11.0), 7.0), _Lane(lane, (-13.0, -5.0), 7.0)
    cycling = (_Lane(-kerb, (3.0, 6.0), 2.5), _Lane(kerb, (-6.0, -3.0), 2.5))
    large = vehicles.truck if rng.random() < 0.4 else vehicles.driving_vehicle
    wanted: list[tuple[_Maker, _Lane]] = [
        (people.motorcyclist, oncoming if rng.random() < 0.6 else ahead),
        (people.bicyclist, cycling[int(rng.integers(2))]),
        (large, _Lane(lane, (-10.0, -4.0), 13.0)),
        (vehicles.car, oncoming),
        (vehicles.car, ahead),
        (vehicles.car, oncoming),
        (people.bicyclist, cycling[1]),
        (people.person, _Lane(0.0, (-0.1, 0.1), 1.0, float(rng.uniform(0.8, 1.6)))),
    ]
    for sign, side in layout.sides.items():
        for _ in range(int(rng.integers(1, 4))):
            out = float(rng.uniform(side.walk_from_m + 0.8, side.walk_to_m - 0.5))
            pace = (0.8, 1.8) if rng.random() < 0.5 else (-1.8, -0.8)
            wanted.append((people.person, _Lane(sign * out, pace, 1.0)))
    return wanted


def _passage(
    rng: np.random.Generator, lane: _Lane, drive: Drive
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and velocity of one that is near the sensor at some moment of the drive."""
    moment = int(rng.integers(len(drive.times_s)))
    time, speed = float(drive.times_s[moment]), float(rng.uniform(*lane.speed))
    s = float(drive.s_m[moment]) + float(rng.uniform(-6.0, 20.0))
    return (s - speed * time, lane.t - lane.across * time), (speed, lane.across)
