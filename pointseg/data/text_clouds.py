"""Point clouds as text: one point a line, whitespace or commas, with or without a header line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SEPARATORS = re.compile(rb"[,;\s]+")
_COMMENTS = (b"#", b"//")


def read_text(path: Path) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    """The numbers, float64 [P, M], and the column names where a header line gives them.

    A first line that is no row of numbers is a header; a first line with one integer alone is the
    number of points, and is checked. Lines that begin with ``#`` or ``//`` are comments, but for a
    leading one that names the columns. A broken file is a ValueError.
    """
    lines = path.read_bytes().splitlines()
    names: tuple[str, ...] | None = None
    announced: int | None = None
    first = 0
    while first < len(lines):
        line = lines[first].strip()
        words = [w for w in _SEPARATORS.split(line) if w]
        if line.startswith(_COMMENTS):
            names = _column_names([w for w in _SEPARATORS.split(line.lstrip(b"#/")) if w]) or names
        elif not words:
            pass
        elif all(map(_is_number, words)):
            if len(words) > 1 or announced is not None:
                break
            announced = _point_count(words[0], path)
        elif names is None:
            names = _column_names(words)
            if _is_number(words[0]):
                break  # a data line with something wrong in it: reported below
        else:
            break
        first += 1
    stripped = [line.strip() for line in lines[first:]]
    data = [line for line in stripped if line and not line.startswith(_COMMENTS)]
    if not data:
        raise ValueError(f"{path}: no points in the file")
    values = _parse(data, first, path)
    if values.shape[1] < 3:
        raise ValueError(f"{path}: {values.shape[1]} columns, a point needs at least x, y and z")
    if announced is not None and announced != len(values):
        raise ValueError(
            f"{path}: {len(values)} points, but the first line says {announced}; the file is cut "
            "off or broken: export or copy it again"
        )
    if names is not None and len(names) != values.shape[1]:
        raise ValueError(
            f"{path}: the header names {len(names)} columns ({', '.join(names)}), but lines have "
            f"{values.shape[1]}"
        )
    return values, names


def _parse(data: list[bytes], first: int, path: Path) -> NDArray[np.float64]:
    text = b"\n".join(data)
    if b"," in data[0] or b";" in data[0]:
        text = text.replace(b",", b" ").replace(b";", b" ")
    try:
        return np.loadtxt(io.BytesIO(text), dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        rows = [[w for w in _SEPARATORS.split(line.strip()) if w] for line in data]
        at = find_broken_row(rows, len(rows[0]))
        if at is not None:
            shown = data[at][:60].decode("latin-1")
            raise ValueError(
                f"{path}: about line {at + first + 1}: expected {len(rows[0])} numbers, got "
                f"{shown!r}; the file is cut off or broken: export or copy it again"
            ) from error
        raise ValueError(f"{path}: {error}") from error


def find_broken_row(rows: Iterable[list[bytes]], columns: int) -> int | None:
    """Index of the first row that is not ``columns`` numbers; rows without words are left out."""
    for index, words in enumerate(rows):
        if words and not (len(words) == columns and all(map(_is_number, words))):
            return index
    return None


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _point_count(word: bytes, path: Path) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ValueError(
            f"{path}: the first line is {word.decode('latin-1')!r} alone; expected x, y and z"
        ) from error


def _column_names(words: list[bytes]) -> tuple[str, ...] | None:
    names = tuple(word.decode("latin-1").strip("\"'").lower() for word in words)
    return names if {"x", "y", "z"} <= {n.removeprefix("//") for n in names} else None
