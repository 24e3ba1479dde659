"""What stands on the lots of a street, by the kind of the lot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pointseg.data.synthetic.mesh import Prop
from pointseg.data.synthetic.streets import buildings, furniture, people, plants, raw_ids, vehicles
from pointseg.data.synthetic.streets.layout import Kind, Lot
from pointseg.data.synthetic.streets.scenery import Scenery

_STYLES = ("wall", "planks", "pickets", "rails", "mesh", "wall")


def furnish(scenery: Scenery, lot: Lot) -> None:
    """Fill one lot, its strip along the road and its piece of sidewalk."""
    _CONTENTS[lot.kind](scenery, lot)
    if lot.kind is not Kind.SIDE_ROAD:
        _strip(scenery, lot)


def _walk_to(scenery: Scenery, lot: Lot) -> float:
    return scenery.layout.sides[lot.side].walk_to_m


def _fence(
    scenery: Scenery, lot: Lot, start: float, end: float, out: float, styles: tuple[str, ...]
) -> None:
    """Panels along the street from one arc length to another."""
    style, height = styles[int(scenery.rng.integers(len(styles)))], scenery.uniform(0.7, 1.9)
    material = scenery.palette.pick(scenery.rng, *_fence_groups(style))
    for s in np.arange(start, end - buildings.PANEL_M * 0.6, buildings.PANEL_M):
        panel = buildings.fence_panel(scenery.rng, style, material, height)
        begin = float(s) if lot.side > 0 else float(s) + buildings.PANEL_M
        scenery.put_on(lot, panel, begin, out)


def _fence_groups(style: str) -> tuple[str, ...]:
    if style == "wall":
        return ("mineral",)
    return ("wood", "painted") if style in ("planks", "pickets", "rails") else ("metal", "painted")


def _fence_across(scenery: Scenery, lot: Lot, s: float, out: tuple[float, float]) -> None:
    """Panels away from the street at one arc length."""
    style, height = ("planks", "wall", "mesh")[int(scenery.rng.integers(3))], 1.5
    material = scenery.palette.pick(scenery.rng, *_fence_groups(style))
    for at in np.arange(out[0], out[1], buildings.PANEL_M):
        panel = buildings.fence_panel(scenery.rng, style, material, height)
        scenery.put_on(lot, panel, s, float(at), np.pi / 2)


def _scatter(
    scenery: Scenery, lot: Lot, make: Callable[..., Prop], out: tuple[float, float], count: int,
    radius: float, turned: bool = True,
) -> None:  # fmt: skip
    """Up to ``count`` props at free places of the lot."""
    for _ in range(count):
        spot = scenery.spot(lot, out, radius)
        if spot is not None:
            yaw = scenery.uniform(0, 2 * np.pi) if turned else 0.0
            scenery.put_on(lot, make(scenery.rng, scenery.palette), *spot, yaw)


def _lawn(scenery: Scenery, lot: Lot, out: tuple[float, float]) -> None:
    """Tufts of grass on a lot between two distances, in pieces that follow the slope."""
    for s in np.arange(lot.start_m + 1.5, lot.end_m - 1.0, 3.0):
        for at in np.arange(out[0] + 1.0, min(out[1], out[0] + 12.0), 3.0):
            tufts = plants.tufts(scenery.rng, scenery.palette, 3.0, min(3.0, out[1] - out[0]))
            scenery.put_on(lot, tufts, float(s), float(at))


def _behind(scenery: Scenery, lot: Lot, out: float, dense: int = 1) -> None:
    """Trees and bushes of back yards, seen over roofs and through gaps."""
    rng = scenery.rng
    count = int(rng.integers(0, 3)) * dense
    _scatter(scenery, lot, plants.tree, (out + 2.0, out + 9.0), count, 1.5)
    _scatter(scenery, lot, plants.bush, (out + 1.5, out + 8.0), 2 * count, 1.1)


def _hedge(scenery: Scenery, lot: Lot, end: float, out: float) -> None:
    """A hedge along the street from the lot's beginning to an arc length."""
    height = scenery.uniform(0.8, 2.2)
    for s in np.arange(lot.start_m, end - 3.0, 4.0):
        hedge = plants.hedge(scenery.rng, scenery.palette, 4.0, height)
        scenery.put_on(lot, hedge, float(s) if lot.side > 0 else float(s) + 4.0, out)


def _house(scenery: Scenery, lot: Lot) -> None:
    rng, walk = scenery.rng, _walk_to(scenery, lot)
    depth = scenery.uniform(7.0, 11.0)
    width = lot.length_m - scenery.uniform(1.0, 3.5)
    house = buildings.building(rng, scenery.palette, width, depth, int(rng.integers(1, 4)))
    scenery.put_on(lot, house, (lot.start_m + lot.end_m) / 2, lot.front_m)
    border = rng.random()
    if border < 0.65:
        _fence(scenery, lot, lot.start_m, lot.end_m, walk + 0.15, _STYLES)
    if border > 0.4:
        _hedge(scenery, lot, lot.end_m, walk + 0.8)
    _fence_across(scenery, lot, lot.start_m + 0.2, (walk + 0.5, lot.front_m))
    garden = (walk + 1.2, lot.front_m - 0.6)
    if garden[1] > garden[0]:
        _lawn(scenery, lot, (walk, lot.front_m))
        _scatter(scenery, lot, plants.bush, garden, int(rng.integers(2, 6)), 0.8)
        _scatter(scenery, lot, plants.tree, garden, int(rng.integers(0, 3)), 1.0)
    _behind(scenery, lot, lot.front_m + depth)


def _driveway(scenery: Scenery, lot: Lot) -> None:
    rng, middle = scenery.rng, (lot.start_m + lot.end_m) / 2
    room = lot.front_m - _walk_to(scenery, lot)
    if room > 4.4 and scenery.chance(0.7):
        turn = np.pi / 2 * (1 if scenery.chance(0.5) else -1)
        scenery.put_on(lot, vehicles.car(rng, scenery.palette), middle, lot.front_m - 2.7, turn)
    if scenery.chance(0.7):
        scenery.put_on(lot, buildings.garage(rng, scenery.palette), middle, lot.front_m)
    else:
        _fence_across(scenery, lot, lot.end_m - 0.2, (lot.front_m, lot.front_m + 8.0))


def _row(scenery: Scenery, lot: Lot) -> None:
    rng = scenery.rng
    gap = 0.0 if scenery.chance(0.5) else scenery.uniform(1.0, 3.4)
    depth = scenery.uniform(8.0, 12.0)
    house = buildings.building(
        rng, scenery.palette, lot.length_m - gap, depth, int(rng.integers(2, 5))
    )
    scenery.put_on(lot, house, (lot.start_m + lot.end_m - gap) / 2, lot.front_m)
    if gap > 2.0:
        _fence(scenery, lot, lot.end_m - gap, lot.end_m, lot.front_m + 0.3, _STYLES)
    for _ in range(int(rng.integers(0, 4))):
        _scatter(
            scenery, lot, people.bicycle, (lot.front_m - 0.45, lot.front_m - 0.35), 1, 0.5, False
        )
    _behind(scenery, lot, lot.front_m + depth)


def _park(scenery: Scenery, lot: Lot) -> None:
    rng, walk = scenery.rng, _walk_to(scenery, lot)
    if scenery.chance(0.4):
        _fence(scenery, lot, lot.start_m, lot.end_m, walk + 0.2, ("rails", "mesh", "guard"))
    _lawn(scenery, lot, (walk, walk + 12.0))
    if scenery.chance(0.4):
        _hedge(scenery, lot, lot.end_m, walk + 0.8)
    _scatter(scenery, lot, plants.bush, (walk + 1.5, walk + 5.0), int(rng.integers(2, 8)), 1.0)
    _scatter(scenery, lot, plants.tree, (walk + 1.5, walk + 20.0), int(rng.integers(5, 9)), 1.6)
    _scatter(scenery, lot, plants.bush, (walk + 2.0, walk + 10.0), int(rng.integers(2, 7)), 1.1)
    _scatter(scenery, lot, plants.bush, (walk + 10.0, walk + 18.0), 10, 1.1)
    _scatter(scenery, lot, people.person, (walk + 1.0, walk + 8.0), int(rng.integers(0, 3)), 0.5)
    _scatter(
        scenery, lot, furniture.small_thing, (walk + 0.8, walk + 5.0), int(rng.integers(1, 3)), 0.9
    )


def _car_park(scenery: Scenery, lot: Lot) -> None:
    rng, walk = scenery.rng, _walk_to(scenery, lot)
    for out in (walk + 2.9, lot.front_m - 2.9):
        for s in np.arange(lot.start_m + 1.5, lot.end_m - 1.4, 2.8):
            if scenery.chance(0.62):
                make = vehicles.car if scenery.chance(0.88) else vehicles.other_vehicle
                turn = np.pi / 2 * (1 if scenery.chance(0.5) else -1)
                if make is vehicles.other_vehicle and out > walk + 3.0:
                    continue
                scenery.put_on(lot, make(rng, scenery.palette), float(s), out, turn + 0.03)
    _fence(scenery, lot, lot.start_m, lot.end_m, lot.front_m + 0.5, _STYLES)
    _scatter(
        scenery, lot, people.motorcycle, (walk + 6.2, walk + 7.0), int(rng.integers(0, 3)), 0.9
    )
    _behind(scenery, lot, lot.front_m, dense=3)


def _plaza(scenery: Scenery, lot: Lot) -> None:
    rng, walk = scenery.rng, _walk_to(scenery, lot)
    house = buildings.building(rng, scenery.palette, lot.length_m, 10.0, int(rng.integers(2, 5)))
    scenery.put_on(lot, house, (lot.start_m + lot.end_m) / 2, lot.front_m)
    rack, turn = scenery.uniform(lot.start_m + 1.0, lot.end_m - 4.0), scenery.uniform(1.2, 1.9)
    for i in range(int(rng.integers(3, 6))):
        s = rack + 0.65 * i
        if scenery.reserve(s, lot.side * (walk + 1.4), 0.3):
            scenery.put_on(lot, people.bicycle(rng, scenery.palette), s, walk + 1.4, turn)
    area = (walk + 0.8, lot.front_m - 0.8)
    _scatter(
        scenery, lot, people.motorcycle, (walk + 1.0, walk + 3.0), int(rng.integers(2, 5)), 0.9
    )
    _scatter(scenery, lot, people.person, area, int(rng.integers(2, 5)), 0.4)
    _scatter(scenery, lot, furniture.small_thing, area, int(rng.integers(2, 5)), 0.8)
    _scatter(scenery, lot, plants.tree, area, int(rng.integers(0, 3)), 1.0)
    _scatter(scenery, lot, plants.bush, area, int(rng.integers(0, 3)), 0.9)


def _site(scenery: Scenery, lot: Lot) -> None:
    rng, walk = scenery.rng, _walk_to(scenery, lot)
    if scenery.chance(0.6):
        _fence(scenery, lot, lot.start_m, lot.end_m - 5.0, walk + 0.3, ("mesh", "planks", "rails"))
    _scatter_turned(scenery, lot, vehicles.truck, (walk + 3.0, lot.front_m - 3.0), 1, 3.2)
    _scatter_turned(scenery, lot, vehicles.other_vehicle, (walk + 3.0, lot.front_m - 2.0), 2, 2.4)
    _scatter(scenery, lot, furniture.container, (walk + 3.0, lot.front_m + 2.0), 2, 2.2)
    _scatter(scenery, lot, furniture.small_thing, (walk + 1.5, lot.front_m), 3, 0.9)
    _scatter(scenery, lot, people.person, (walk + 1.5, lot.front_m), int(rng.integers(0, 3)), 0.4)
    _behind(scenery, lot, lot.front_m, dense=3)


def _scatter_turned(
    scenery: Scenery, lot: Lot, make: Callable[..., Prop], out: tuple[float, float], count: int,
    radius: float,
) -> None:  # fmt: skip
    """Large things, more or less along the street or across it."""
    for _ in range(count):
        spot = scenery.spot(lot, out, radius, tries=30)
        if spot is not None:
            yaw = np.pi / 2 * int(scenery.rng.integers(4)) + scenery.uniform(-0.2, 0.2)
            scenery.put_on(lot, make(scenery.rng, scenery.palette), *spot, yaw)


def _pavement(scenery: Scenery, lot: Lot) -> None:
    rng, side = scenery.rng, scenery.layout.sides[lot.side]
    make = furniture.traffic_light if scenery.chance(0.4) else furniture.sign
    _scatter(scenery, lot, make, (side.walk_from_m + 0.3, side.walk_from_m + 0.7), 1, 0.3, False)
    walk = _walk_to(scenery, lot)
    _scatter(scenery, lot, people.person, (walk, walk + 12.0), int(rng.integers(0, 3)), 0.4)


def _side_road(scenery: Scenery, lot: Lot) -> None:
    """Somebody waiting to turn in, and a parked vehicle further back."""
    rng, walk = scenery.rng, _walk_to(scenery, lot)
    lane = lot.length_m / 4
    waits, leaves = lot.start_m + lane, lot.end_m - lane
    make = (people.bicyclist, people.motorcyclist, vehicles.car)[int(rng.integers(3))]
    out = walk + (1.5 if make is not vehicles.car else 3.0)
    scenery.put_on(lot, make(rng, scenery.palette), waits, out, -np.pi / 2)
    parked = vehicles.truck if scenery.chance(0.4) else vehicles.car
    far = walk + scenery.uniform(12.0, 18.0)
    scenery.put_on(lot, parked(rng, scenery.palette), leaves, far, np.pi / 2)


def _strip(scenery: Scenery, lot: Lot) -> None:
    """Parked vehicles or trees between road and sidewalk."""
    side = scenery.layout.sides[lot.side]
    if not side.strip_m or lot.kind in (Kind.PAVEMENT, Kind.DRIVEWAY):
        return
    middle = side.road_m + side.strip_m / 2
    if lot.strip == raw_ids.PARKING:
        _parked(scenery, lot, middle)
    elif lot.strip == raw_ids.TERRAIN:
        _lawn(scenery, lot, (side.road_m, side.walk_from_m))
        make = plants.tree if scenery.chance(0.8) else plants.bush
        _scatter(scenery, lot, make, (middle - 0.2, middle + 0.2), 3, 1.6)


def _parked(scenery: Scenery, lot: Lot, out: float) -> None:
    at = lot.start_m + 3.0
    while at < lot.end_m - 2.6:
        draw = scenery.rng.random()
        turn = np.pi * int(scenery.rng.integers(2)) + scenery.uniform(-0.03, 0.03)
        if draw < 0.55:
            scenery.put_on(lot, vehicles.car(scenery.rng, scenery.palette), at, out, turn)
        elif draw < 0.66:
            for shift in (-0.7, 0.4):
                bike = people.motorcycle(scenery.rng, scenery.palette)
                scenery.put_on(lot, bike, at + shift, out, np.pi / 2 + 0.2)
        elif draw < 0.72 and at + 4.0 < lot.end_m and lot.length_m > 9.0:
            at += 2.0
            scenery.put_on(lot, vehicles.other_vehicle(scenery.rng, scenery.palette), at, out, turn)
            at += 3.0
        at += scenery.uniform(5.2, 6.2)


_CONTENTS: dict[Kind, Callable[[Scenery, Lot], None]] = {
    Kind.HOUSE: _house,
    Kind.DRIVEWAY: _driveway,
    Kind.ROW: _row,
    Kind.PARK: _park,
    Kind.CAR_PARK: _car_park,
    Kind.PLAZA: _plaza,
    Kind.SITE: _site,
    Kind.PAVEMENT: _pavement,
    Kind.SIDE_ROAD: _side_road,
}
