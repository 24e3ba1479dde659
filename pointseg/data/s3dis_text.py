"""S3DIS's text files: points ``x y z r g b``, one a line, and the table of alignment angles.

Both releases have lines in which one bit of a character was lost, the one of value 0x20: a space
became NUL, ``0`` became ``\\x10``. Where a file has one such byte, setting that bit again gives the
character that was written; this repairs all known cases. Several in a row are something else, such
as the zeros that an interrupted download leaves behind.
"""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pointseg.data.coordinates import are_near
from pointseg.data.text_clouds import find_broken_row
from pointseg.data.text_lines import read_lines, to_number

logger = logging.getLogger(__name__)

COLUMNS = ("x", "y", "z", "red", "green", "blue")
AGAIN = "the file is cut off or broken: unpack or download it again"
_ANGLES_AGAIN = f"{AGAIN}, or end its last line if that is whole"

_LOST_BIT = 0x20
_DAMAGED = bytes(c for c in range(_LOST_BIT) if c not in b"\t\n\r")
_REPAIR = bytes(c | _LOST_BIT if c in _DAMAGED else c for c in range(256))
_BOM = b"\xef\xbb\xbf"
_RUN = re.compile(b"[" + re.escape(_DAMAGED) + b"]+")


def read_points(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Coordinates float64 [P, 3] in metres and colours uint8 [P, 3] of a file of points.

    Colours may be written as floats (``126.000000``), as in the release that is not aligned. Bytes
    with a lost bit are repaired and counted in a warning. Anything else that is no point is a
    ValueError that names the file, the line and the remedy; so is a file without points.
    """
    text = _clean(path.read_bytes(), path)
    values = _parse(text, path)
    _check_values(values, text, path)
    # Copied, so that the table of all columns need not be kept.
    return values[:, :3].copy(), values[:, 3:].astype(np.uint8)


def count_points(path: Path) -> int:
    """The number of lines of a file that are not empty, without reading what is in them."""
    with path.open("rb") as file:
        return sum(map(bool, map(bytes.strip, file)))


def _clean(text: bytes, path: Path) -> bytes:
    """The bytes as they were written, lines ending in LF."""
    text = text.removeprefix(_BOM)
    if first := _RUN.search(text):
        for run in _RUN.finditer(text, first.start()):
            if len(run[0]) > 1:
                raise ValueError(
                    f"{path}: line {_line_at(text, run.start())}: {len(run[0])} bytes in a row "
                    f"that are no text; {AGAIN}"
                )
        logger.warning(
            "%s: %d bytes with a lost bit repaired, the first in line %d",
            path, len(text) - len(text.translate(None, _DAMAGED)), _line_at(text, first.start()),
        )  # fmt: skip
        text = text.translate(_REPAIR)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
        if (stray := text.find(b"\r")) >= 0:
            raise ValueError(
                f"{path}: line {_line_at(text, stray)} has a carriage return inside; {AGAIN}"
            )
    if text and not text.endswith(b"\n"):
        logger.warning("%s: no line end after the last point: the file may be cut off", path)
    return text


def _parse(text: bytes, path: Path) -> NDArray[np.float64]:
    if not text or text.isspace():
        raise ValueError(f"{path}: no points in the file; {AGAIN}")
    try:
        if not text.isascii():  # numpy would take some of the other bytes for spaces
            raise ValueError("it has bytes that are no text")
        values = np.loadtxt(io.BytesIO(text), dtype=np.float64, comments=None, ndmin=2)
        if values.shape[1] != len(COLUMNS):
            raise ValueError(f"{values.shape[1]} columns")
    except ValueError as error:
        lines = text.split(b"\n")
        at = find_broken_row((line.split() for line in lines), len(COLUMNS))
        if at is None:
            raise ValueError(f"{path}: {error}; {AGAIN}") from error
        raise ValueError(_expected(path, at, lines[at])) from error
    return values


def _check_values(values: NDArray[np.float64], text: bytes, path: Path) -> None:
    """Refuse coordinates that are not finite or not of a room, and colours that are not whole
    numbers in 0..255.
    """
    color = values[:, 3:]
    good = are_near(values[:, :3])
    # Each comparison is false for nan.
    good &= ((color >= 0) & (color <= 255) & (color == np.floor(color))).all(axis=1)
    if not good.all():
        rows = [i for i, line in enumerate(text.split(b"\n")) if line.strip()]
        at = rows[int(np.argmin(good))]
        raise ValueError(_expected(path, at, text.split(b"\n")[at]))


def _expected(path: Path, line_index: int, line: bytes) -> str:
    shown = line[:80].decode("latin-1")
    return (
        f"{path}: line {line_index + 1}: expected x y z in metres and r g b in 0..255, got "
        f"{shown!r}; {AGAIN}"
    )


def _line_at(text: bytes, offset: int) -> int:
    return text.count(b"\n", 0, offset) + 1


def read_angles(path: Path) -> dict[str, float]:
    """Room name -> angle in degrees, of an ``Area_N_alignmentAngle.txt``."""
    angles: dict[str, float] = {}
    for number, line in enumerate(read_lines(path, _ANGLES_AGAIN), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            room, angle = words[0], to_number(words[1])
            if len(words) != 2 or room in angles or not np.isfinite(angle):
                raise ValueError("not one finite angle for each room")
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path}: line {number}: expected a room, once, and its angle in degrees, got "
                f"{line[:80]!r}; {AGAIN}"
            ) from error
        angles[room] = angle
    return angles
