"""SemanticKITTI's raw ids that the streets are made of.

Source: the data set's ``semantic-kitti.yaml``.
"""

from __future__ import annotations

from typing import Final

UNLABELED = 0
OUTLIER = 1
CAR = 10
BICYCLE = 11
BUS = 13
MOTORCYCLE = 15
TRUCK = 18
OTHER_VEHICLE = 20
PERSON = 30
BICYCLIST = 31
MOTORCYCLIST = 32
ROAD = 40
PARKING = 44
SIDEWALK = 48
OTHER_GROUND = 49
BUILDING = 50
FENCE = 51
OTHER_STRUCTURE = 52
LANE_MARKING = 60
VEGETATION = 70
TRUNK = 71
TERRAIN = 72
POLE = 80
TRAFFIC_SIGN = 81
OTHER_OBJECT = 99

MOVING: Final = {
    CAR: 252,
    BICYCLIST: 253,
    PERSON: 254,
    MOTORCYCLIST: 255,
    BUS: 257,
    TRUCK: 258,
    OTHER_VEHICLE: 259,
}
"""The id of a thing that moves during the sequence, by the id of one that does not."""

THINGS: Final = frozenset(
    {
        CAR, BICYCLE, BUS, MOTORCYCLE, TRUCK, OTHER_VEHICLE, PERSON, BICYCLIST, MOTORCYCLIST,
        *MOVING.values(),
    }
)  # fmt: skip
"""Classes whose objects are told apart by an instance id."""
