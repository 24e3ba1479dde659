"""nyu40 ids the rooms are made of, and a raw category name for each.

The names are keys of ScanNet's label table (``raw_category``); ids and class names are those of
:data:`pointseg.data.labels.NYU40`.
"""

from __future__ import annotations

from pointseg.data.labels import NYU40

UNANNOTATED = 0
WALL = 1
FLOOR = 2
CABINET = 3
BED = 4
CHAIR = 5
SOFA = 6
TABLE = 7
DOOR = 8
WINDOW = 9
BOOKSHELF = 10
PICTURE = 11
COUNTER = 12
DESK = 14
CURTAIN = 16
PILLOW = 18
MIRROR = 19
FLOOR_MAT = 20
CEILING = 22
BOOKS = 23
REFRIGERATOR = 24
TELEVISION = 25
TOWEL = 27
SHOWER_CURTAIN = 28
BOX = 29
WHITEBOARD = 30
NIGHT_STAND = 32
TOILET = 33
SINK = 34
LAMP = 35
BATHTUB = 36
BAG = 37
OTHER_STRUCTURE = 38
OTHER_FURNITURE = 39
OTHER_PROP = 40

# Of S3DIS, not of nyu40: only in rooms of its format.
BEAM = 41
COLUMN = 42

RAW_CATEGORY = {
    "floor mat": "mat",
    "clothes": "clothing",
    "books": "books",
    "refridgerator": "refrigerator",
    "television": "tv",
    "night stand": "nightstand",
    "otherstructure": "structure",
    "otherfurniture": "ottoman",
    "otherprop": "object",
}
"""Raw category of the classes whose own name is not one."""


def raw_category(nyu40_id: int) -> str:
    """Name under which ``aggregation.json`` and the label table know a class."""
    name = NYU40[nyu40_id].name
    return RAW_CATEGORY.get(name, name)
