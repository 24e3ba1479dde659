"""Class tables: which raw ids of a dataset are trained on, under which names and colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORE_INDEX: Final = -1
"""Label of a point that takes part in neither losses nor metrics."""

_UNKNOWN: Final = -2  # in tables: an id that no annotation may hold


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A two-way table between the ids in a dataset's files and train ids 0..num_classes-1.

    names      of the classes, in train-id order
    raw_ids    what each class is written as in label files, distinct and not negative
    palette    uint8 ``[num_classes, 3]``, RGB
    reads      every id that annotation files may hold -> its train id, or ``IGNORE_INDEX``; any
               other id there is an error. None: ``raw_ids``, and all other ids are ignored.
    unlabelled what points without a class are written as; no raw id
    """

    name: str
    names: tuple[str, ...]
    raw_ids: tuple[int, ...]
    palette: NDArray[np.uint8]
    reads: Mapping[int, int] | None = None
    unlabelled: int = 0
    _table: NDArray[np.int16] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        palette = np.array(self.palette, dtype=np.uint8)  # copied, since it is made read-only
        if not len(self.names) == len(self.raw_ids) == len(palette):
            raise ValueError(
                f"label map {self.name!r}: {len(self.names)} names, {len(self.raw_ids)} raw ids "
                f"and {len(palette)} colours; expected as many of each"
            )
        if len({*self.raw_ids, self.unlabelled}) <= len(self.raw_ids) or min(self.raw_ids) < 0:
            raise ValueError(
                f"label map {self.name!r}: raw ids must be distinct, not negative, and not "
                f"{self.unlabelled}, which stands for unlabelled points"
            )
        reads = self.reads
        if reads is None:
            reads = {raw: train for train, raw in enumerate(self.raw_ids)}
        if not reads:
            raise ValueError(f"label map {self.name!r}: reads is empty; None stands for raw_ids")
        wrong = [r for r, t in reads.items() if r < 0 or not IGNORE_INDEX <= t < self.num_classes]
        if wrong:
            raise ValueError(f"label map {self.name!r}: reads[{wrong[0]}] is {reads[wrong[0]]}")
        # The slot behind the last id stands for all ids that are not in the table.
        table = np.full(
            max(reads) + 2, _UNKNOWN if self.reads is not None else IGNORE_INDEX, dtype=np.int16
        )
        table[list(reads)] = list(reads.values())
        palette.setflags(write=False)
        table.setflags(write=False)
        object.__setattr__(self, "palette", palette)
        object.__setattr__(self, "_table", table)

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def to_train(self, raw: ArrayLike) -> NDArray[np.int16]:
        """Raw ids of any integer dtype and shape -> int16 train ids, ``IGNORE_INDEX`` elsewhere.

        Where the map lists all ids (``reads``), another one is a ValueError that names it.
        """
        raw = np.asarray(raw)
        if raw.dtype.kind not in "iu":
            raise TypeError(f"raw labels must be integers, got {raw.dtype}")
        last = len(self._table) - 1
        known = (raw >= 0) & (raw < last)
        train = self._table[np.where(known, raw, last).astype(np.intp)]
        if self.reads is not None and (train == _UNKNOWN).any():
            values, counts = np.unique(raw[train == _UNKNOWN], return_counts=True)
            shown = ", ".join(f"{v} ({n}x)" for v, n in zip(values[:5], counts[:5], strict=True))
            raise ValueError(
                f"{len(values)} ids are not in the label map {self.name!r}: {shown}"
                f"{', ...' if len(values) > 5 else ''}"
            )
        return train

    def to_raw(self, train: ArrayLike) -> NDArray[np.int32]:
        """Train ids -> int32 raw ids; ``IGNORE_INDEX`` becomes ``unlabelled``. Other ids are a
        ValueError.
        """
        train = np.asarray(train)
        if train.dtype.kind not in "iu":
            raise TypeError(f"train labels must be integers, got {train.dtype}")
        bad = (train < IGNORE_INDEX) | (train >= self.num_classes)
        if bad.any():
            raise ValueError(
                f"train ids of {self.name!r} are {IGNORE_INDEX}..{self.num_classes - 1}, got "
                f"{train[bad].flat[0]}"
            )
        table = np.array((*self.raw_ids, self.unlabelled), dtype=np.int32)  # -1 is the last entry
        return table[train.astype(np.intp)]

    def from_raw(self, raw: ArrayLike) -> NDArray[np.int16]:
        """What :meth:`to_raw` wrote, back: any id that is no class becomes ``IGNORE_INDEX``."""
        return _written(self).to_train(raw) if self.reads is not None else self.to_train(raw)


def _written(label_map: LabelMap) -> LabelMap:
    return dataclasses.replace(label_map, reads=None)


@dataclass(frozen=True)
class Nyu40Class:
    """One entry of the nyu40 table: ``train_id`` is ``IGNORE_INDEX`` outside the 20 classes."""

    name: str
    train_id: int
    rgb: tuple[int, int, int]


NYU40: Final[tuple[Nyu40Class, ...]] = (
    Nyu40Class("unannotated", -1, (0, 0, 0)),
    Nyu40Class("wall", 0, (174, 199, 232)),
    Nyu40Class("floor", 1, (152, 223, 138)),
    Nyu40Class("cabinet", 2, (31, 119, 180)),
    Nyu40Class("bed", 3, (255, 187, 120)),
    Nyu40Class("chair", 4, (188, 189, 34)),
    Nyu40Class("sofa", 5, (140, 86, 75)),
    Nyu40Class("table", 6, (255, 152, 150)),
    Nyu40Class("door", 7, (214, 39, 40)),
    Nyu40Class("window", 8, (197, 176, 213)),
    Nyu40Class("bookshelf", 9, (148, 103, 189)),
    Nyu40Class("picture", 10, (196, 156, 148)),
    Nyu40Class("counter", 11, (23, 190, 207)),
    Nyu40Class("blinds", -1, (178, 76, 76)),
    Nyu40Class("desk", 12, (247, 182, 210)),
    Nyu40Class("shelves", -1, (66, 188, 102)),
    Nyu40Class("curtain", 13, (219, 219, 141)),
    Nyu40Class("dresser", -1, (140, 57, 197)),
    Nyu40Class("pillow", -1, (202, 185, 52)),
    Nyu40Class("mirror", -1, (51, 176, 203)),
    Nyu40Class("floor mat", -1, (200, 54, 131)),
    Nyu40Class("clothes", -1, (92, 193, 61)),
    Nyu40Class("ceiling", -1, (78, 71, 183)),
    Nyu40Class("books", -1, (172, 114, 82)),
    Nyu40Class("refridgerator", 14, (255, 127, 14)),
    Nyu40Class("television", -1, (91, 163, 138)),
    Nyu40Class("paper", -1, (153, 98, 156)),
    Nyu40Class("towel", -1, (140, 153, 101)),
    Nyu40Class("shower curtain", 15, (158, 218, 229)),
    Nyu40Class("box", -1, (100, 125, 154)),
    Nyu40Class("whiteboard", -1, (178, 127, 135)),
    Nyu40Class("person", -1, (120, 185, 128)),
    Nyu40Class("night stand", -1, (146, 111, 194)),
    Nyu40Class("toilet", 16, (44, 160, 44)),
    Nyu40Class("sink", 17, (112, 128, 144)),
    Nyu40Class("lamp", -1, (96, 207, 209)),
    Nyu40Class("bathtub", 18, (227, 119, 194)),
    Nyu40Class("bag", -1, (213, 92, 176)),
    Nyu40Class("otherstructure", -1, (94, 106, 211)),
    Nyu40Class("otherfurniture", 19, (82, 84, 163)),
    Nyu40Class("otherprop", -1, (100, 85, 144)),
)
"""The nyu40 ids (index) with ScanNet's palette; source: ScanNet ``BenchmarkScripts/util.py``."""


def _scannet20() -> LabelMap:
    trained = sorted((c.train_id, raw_id) for raw_id, c in enumerate(NYU40) if c.train_id >= 0)
    raw_ids = tuple(raw_id for _, raw_id in trained)
    # The benchmark spells class 24 correctly, the nyu40 list does not.
    names = tuple(NYU40[i].name.replace("refridgerator", "refrigerator") for i in raw_ids)
    palette = np.array([NYU40[i].rgb for i in raw_ids], dtype=np.uint8)
    return LabelMap("scannet20", names, raw_ids, palette)


SCANNET20: Final = _scannet20()
"""The 20 classes of the ScanNet v2 benchmark; raw ids are nyu40 ids."""
