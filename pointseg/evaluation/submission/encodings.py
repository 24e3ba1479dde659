"""Labels of one scene as the bytes of a file, and back: text or binary.

An encoding knows nothing about classes: it writes ids that fit and reads whatever is there, with
every fault named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

UNREADABLE = int(np.iinfo(np.int64).min)
"""Stands in `Decoded.ids` for a label that is no integer."""

_CHUNK = 1 << 18  # labels formatted at a time
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "UTF-8",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a label file says.

    ids       int64 [L], one per label that is there, `UNREADABLE` where it is none
    problems  faults of the file that a server trips over
    notes     oddities that servers read past
    """

    ids: NDArray[np.int64]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class LabelEncoding(Protocol):
    """How the ids of a scene are stored."""

    def encode(self, raw_ids: NDArray[np.integer]) -> bytes:
        """Ids [P] as bytes; ValueError for ids that do not fit."""

    def decode(self, data: bytes) -> Decoded:
        """The labels in ``data``, whatever it holds: nothing is raised."""


@dataclass(frozen=True)
class TextLabels:
    """One decimal number a line, one line a point, ASCII."""

    def encode(self, raw_ids: NDArray[np.integer]) -> bytes:
        chunks = (raw_ids[begin : begin + _CHUNK] for begin in range(0, len(raw_ids), _CHUNK))
        texts = ("".join(f"{value}\n" for value in chunk.tolist()) for chunk in chunks)
        return b"".join(text.encode("ascii") for text in texts)

    def decode(self, data: bytes) -> Decoded:
        problems, notes = [], []
        for mark, name in _BYTE_ORDER_MARKS.items():
            if data.startswith(mark):
                problems.append(
                    f"starts with the byte order mark of {name}; save it as plain ASCII"
                )
                data = data.removeprefix(mark)
        if b"\r" in data:
            notes.append("lines end in CR LF, as on Windows")
        lines = data.splitlines()  # of bytes: at line ends alone, not at form feeds and the like
        ids = _parsed(lines)
        bad = np.flatnonzero(ids == UNREADABLE)
        if bad.size:
            problems.append(
                f"{bad.size} lines are not one integer, the first is line {bad[0] + 1}: "
                f"{repr(lines[bad[0]][:40])[1:]}"
            )
        return Decoded(ids, tuple(problems), tuple(notes))


@dataclass(frozen=True)
class BinaryLabels:
    """Unsigned integers of ``dtype`` without a header; the class is in the lowest ``id_bits``."""

    dtype: str
    id_bits: int

    def encode(self, raw_ids: NDArray[np.integer]) -> bytes:
        outside = (raw_ids < 0) | (raw_ids >= 1 << self.id_bits)
        if outside.any():
            raise ValueError(
                f"ids of {np.dtype(self.dtype).name} labels must be in 0..{(1 << self.id_bits) - 1}"
                f", got {raw_ids[outside][0]}"
            )
        return raw_ids.astype(self.dtype).tobytes()

    def decode(self, data: bytes) -> Decoded:
        size = np.dtype(self.dtype).itemsize
        problems, notes = [], []
        start = data[:4096]
        if re.search(rb"\d", start) and re.fullmatch(rb"[\d\s+-]+", start):
            notes.append(f"looks like text; labels must be binary {np.dtype(self.dtype).name}")
        if len(data) % size:
            problems.append(f"{len(data)} bytes are no whole number of labels of {size} bytes")
        values = np.frombuffer(data, dtype=self.dtype, count=len(data) // size).astype(np.int64)
        if (values >> self.id_bits).any():
            notes.append(
                f"bits above the lowest {self.id_bits} are set (instance ids), which are left out"
            )
        return Decoded(values & ((1 << self.id_bits) - 1), tuple(problems), tuple(notes))


def _parsed(lines: list[bytes]) -> NDArray[np.int64]:
    known: dict[bytes, int] = {}  # a file has a few different lines, each many times over
    ids = np.empty(len(lines), dtype=np.int64)
    for index, line in enumerate(lines):
        if line not in known:
            known[line] = _integer(line)
        ids[index] = known[line]
    return ids


def _integer(line: bytes) -> int:
    text = line.strip()
    digits = text[1:] if text[:1] in (b"+", b"-") else text
    # a number of more digits than this is no label, and would not fit the array either
    return int(text) if digits.isdigit() and len(digits) < 18 else UNREADABLE
