"""What the ground of a street is where: lots along both sides, each a row of bands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from pointseg.data.synthetic.streets import raw_ids

EDGE_M = 45.0
"""How far the ground reaches on each side."""
CROWN = 0.018  # fall of the road's surface per metre from its middle


class Kind(Enum):
    """What a lot is used for."""

    HOUSE = "house behind a garden"
    DRIVEWAY = "way to a house"
    ROW = "houses at the sidewalk"
    PARK = "grass and trees"
    CAR_PARK = "cars in rows"
    PLAZA = "paved or gravelled place"
    SITE = "yard with materials and lorries"
    PAVEMENT = "corner of a side road"
    SIDE_ROAD = "side road"


REQUIRED = (Kind.HOUSE, Kind.ROW, Kind.PARK, Kind.CAR_PARK, Kind.PLAZA, Kind.SIDE_ROAD, Kind.SITE)
"""Kinds that every street has near the driven path."""
_CHARACTERS = (
    (Kind.HOUSE, Kind.HOUSE, Kind.PARK),
    (Kind.ROW, Kind.ROW, Kind.HOUSE, Kind.PARK),
    (Kind.PARK, Kind.PARK, Kind.HOUSE),
)
"""What other lots are mostly drawn from: houses with gardens, a town, its green edge."""

_LENGTH_M = {Kind.SIDE_ROAD: (10.0, 12.0), Kind.CAR_PARK: (14.0, 22.0), Kind.SITE: (12.0, 16.0)}
_USUAL_LENGTH_M = (11.0, 18.0)


@dataclass(frozen=True)
class Band:
    """A strip of ground out to ``outer_m`` from the street's middle, at a height above it."""

    label: int
    outer_m: float
    height_m: float
    bump_m: float = 0.0


@dataclass(frozen=True)
class Lot:
    """A stretch of one side (+1 left, -1 right) between two arc lengths.

    ``front_m`` is the distance from the street's middle at which buildings or areas begin;
    ``strip`` is what lies between road and sidewalk.
    """

    side: int
    start_m: float
    end_m: float
    kind: Kind
    strip: int
    front_m: float
    bands: tuple[Band, ...]

    @property
    def length_m(self) -> float:
        return self.end_m - self.start_m


@dataclass(frozen=True)
class Side:
    """Measures of one side of a street, from its middle outwards."""

    road_m: float
    strip_m: float
    walk_m: float
    kerb_m: float

    @classmethod
    def draw(cls, rng: np.random.Generator, road_m: float) -> Side:
        strip = (0.0, 2.3, 2.3)[int(rng.integers(3))]
        return cls(road_m, strip, float(rng.uniform(1.8, 3.4)), float(rng.uniform(0.07, 0.15)))

    @property
    def walk_from_m(self) -> float:
        return self.road_m + self.strip_m

    @property
    def walk_to_m(self) -> float:
        return self.walk_from_m + self.walk_m


@dataclass(frozen=True)
class Layout:
    """Both sides of a street and their lots."""

    sides: dict[int, Side]
    lots: tuple[Lot, ...]
    road_m: float

    def ground(self, s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Raw id, height above the course and roughness at places, each of their shape."""
        label = np.full(s.shape, raw_ids.ROAD, np.int64)
        height, bump = np.zeros(s.shape), np.zeros(s.shape)
        out, low, high = np.abs(t), s.min(), s.max()
        for lot in self.lots:
            if lot.end_m <= low or lot.start_m > high:
                continue
            rows = (s >= lot.start_m) & (s < lot.end_m) & (t * lot.side > 0)
            inner = self.road_m
            for band in lot.bands:
                at = rows & (out >= inner) & (out < band.outer_m)
                label[at], height[at], bump[at] = band.label, band.height_m, band.bump_m
                inner = band.outer_m
        return label, height - CROWN * np.minimum(out, self.road_m), bump

    def height(self, s: float, t: float) -> float:
        """Height above the course at one place, without bumps."""
        return float(self.ground(np.array([s]), np.array([t]))[1][0])


def draw_layout(rng: np.random.Generator, start_m: float, end_m: float, path_m: float) -> Layout:
    """Lots along a street from ``start_m`` to ``end_m`` that is driven from 0 to ``path_m``."""
    road = float(rng.uniform(3.1, 4.4))
    sides = {side: Side.draw(rng, road) for side in (1, -1)}
    if sides[1].strip_m == sides[-1].strip_m == 0.0:
        sides[1] = Side(road, 2.3, sides[1].walk_m, sides[1].kerb_m)
    wanted = [REQUIRED[i] for i in rng.permutation(len(REQUIRED))]
    others = _CHARACTERS[int(rng.integers(len(_CHARACTERS)))]
    near = {1: wanted[:4], -1: wanted[4:]}
    usual = (*REQUIRED, *others, *others)
    lots: list[Lot] = []
    for side, measures in sides.items():
        at = start_m
        while at < end_m:
            if near[side] and at > -12.0:
                kind = near[side].pop(0)
            else:
                kinds = usual if -12.0 < at < path_m + 20.0 else others
                kind = kinds[int(rng.integers(len(kinds)))]
            length = float(rng.uniform(*_LENGTH_M.get(kind, _USUAL_LENGTH_M)))
            lots += _pieces(rng, measures, side, kind, at, at + length)
            at += length
    return Layout(sides, tuple(lots), road)


def _pieces(
    rng: np.random.Generator, side: Side, sign: int, kind: Kind, start: float, end: float
) -> list[Lot]:
    """A lot, or the parts of one that have different ground."""

    def lot(kind: Kind, start: float, end: float, front: float, *back: Band) -> Lot:
        strips = (raw_ids.PARKING, raw_ids.PARKING, raw_ids.TERRAIN, raw_ids.SIDEWALK)
        strip = strips[int(rng.integers(4))]
        bands = [] if kind is Kind.SIDE_ROAD else _frontage(side, strip)
        return Lot(sign, start, end, kind, strip, front, (*bands, *back))

    walk, kerb = side.walk_to_m, side.kerb_m
    rise = kerb + float(rng.uniform(0.0, 0.15))
    garden = Band(raw_ids.TERRAIN, EDGE_M, rise, 0.05)
    if kind is Kind.SIDE_ROAD:
        pavement = Band(raw_ids.SIDEWALK, EDGE_M, kerb)
        return [
            lot(Kind.PAVEMENT, start, start + 2.2, walk, pavement),
            lot(kind, start + 2.2, end - 2.2, walk, Band(raw_ids.ROAD, EDGE_M, 0.0)),
            lot(Kind.PAVEMENT, end - 2.2, end, walk, pavement),
        ]
    if kind is Kind.HOUSE:
        front = walk + round(float(rng.uniform(2.0, 6.0)) * 2) / 2
        way = lot(
            Kind.DRIVEWAY, end - 3.4, end, front + 1.0,
            Band(raw_ids.PARKING, front + 1.0, kerb), garden,
        )  # fmt: skip
        return [lot(kind, start, end - 3.4, front, garden), way]
    if kind is Kind.ROW:
        return [lot(kind, start, end, walk, garden)]
    if kind is Kind.PARK:
        lawn = Band(raw_ids.TERRAIN, EDGE_M, kerb + float(rng.uniform(-0.05, 0.4)), 0.09)
        return [lot(kind, start, end, walk, lawn)]
    if kind is Kind.CAR_PARK:
        deep = float(rng.uniform(11.0, 13.0))
        area = Band(raw_ids.PARKING, walk + deep, kerb * float(rng.uniform(0.3, 1.0)))
        return [lot(kind, start, end, walk + deep, area, garden)]
    deep = float(rng.uniform(6.0, 9.0)) if kind is Kind.PLAZA else float(rng.uniform(12.0, 16.0))
    bump = 0.0 if kind is Kind.PLAZA else 0.03
    place = Band(raw_ids.OTHER_GROUND, walk + deep, kerb, bump)
    return [lot(kind, start, end, walk + deep, place, garden)]


def _frontage(side: Side, strip: int) -> list[Band]:
    """The bands between road and lot: a strip, where the side has one, and the sidewalk."""
    bands = [Band(raw_ids.SIDEWALK, side.walk_to_m, side.kerb_m)]
    if side.strip_m:
        height = {raw_ids.PARKING: 0.03, raw_ids.TERRAIN: side.kerb_m}.get(strip, side.kerb_m)
        bump = 0.03 if strip == raw_ids.TERRAIN else 0.0
        bands.insert(0, Band(strip, side.walk_from_m, height, bump))
    return bands
