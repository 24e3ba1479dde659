"""Arrays and text packed for a page: gzip, then base64, with a table of where each array lies."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_ALIGNMENT = 4  # a JavaScript typed array must begin at a multiple of its item size
_STEPS = 65535  # uint16


@dataclass(frozen=True)
class Packed:
    """``text``: gzip + base64 of the arrays; ``table``: name -> {dtype, offset, length}."""

    text: str
    table: dict[str, dict[str, Any]]


def pack_text(text: str) -> str:
    """gzip + base64 of a text; the same text gives the same result."""
    return _encode(text.encode("utf-8"))


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> Packed:
    """Pack arrays of uint8, uint16, uint32 or float32 (little endian, row-major)."""
    chunks: list[bytes] = []
    table: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, array in arrays.items():
        if array.dtype not in (np.uint8, np.uint16, np.uint32, np.float32):
            raise TypeError(f"cannot pack array {name!r} of dtype {array.dtype}")
        data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        table[name] = {"dtype": array.dtype.name, "offset": offset, "length": array.size}
        chunks.append(data + bytes(-len(data) % _ALIGNMENT))
        offset += len(chunks[-1])
    return Packed(_encode(b"".join(chunks)), table)


def quantise(xyz_m: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
    """uint16 [3, P] codes of coordinates, with each axis' lowest value and step in metres.

    A coordinate is ``low + code * step``; the error is at most half a step, 1/131070 of the
    extent (0.08 mm in a room of 10 m).
    """
    xyz = np.asarray(xyz_m, dtype=np.float64)
    if not len(xyz):
        return np.zeros((3, 0), dtype=np.uint16), [0.0] * 3, [1.0] * 3
    low = xyz.min(axis=0)
    step = np.maximum(np.ptp(xyz, axis=0), 1e-6) / _STEPS
    codes = np.rint((xyz - low) / step).astype(np.uint16)
    return np.ascontiguousarray(codes.T), low.tolist(), step.tolist()


def _encode(data: bytes) -> str:
    # Without a time stamp the same scene gives the same page.
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")
