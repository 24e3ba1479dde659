"""Points as rows of float32 without a header: what lidar datasets call ``.bin``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_point_rows(path: Path, names: Sequence[str], remedy: str) -> NDArray[np.float32]:
    """float32 [P, len(names)], P >= 1; little-endian on disk.

    A missing or empty file, or one that ends within a point, is a FileNotFoundError or ValueError
    that names it and the ``remedy``.
    """
    num_rows = num_point_rows(path, names, remedy)
    return np.fromfile(path, dtype="<f4").reshape(num_rows, len(names))


def num_point_rows(path: Path, names: Sequence[str], remedy: str) -> int:
    """P of :func:`read_point_rows`, by the size of the file; the same errors."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {remedy}")
    size, row = path.stat().st_size, 4 * len(names)
    if size == 0 or size % row:
        raise ValueError(
            f"{path}: {size} bytes are no whole number of points of {row} bytes ({len(names)} "
            f"float32 {', '.join(names)}); {remedy}"
        )
    return size // row
