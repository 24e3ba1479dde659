"""Which algorithm a convolution takes on CUDA: a table, measured by the benchmark `conv_choice`.

``conv_choice.json`` has the fastest algorithm at a few sizes, forward and for the gradient of the
weights. Others take that of the nearest size. Nothing is timed at run time, so that the same sizes
give the same bits in every process.

Forward, and for the gradient of the features, whose channels are exchanged:

====  ==========================================================================================
0     by tap: gather, library GEMM, ordered sum; every dtype
1     fused on tensor cores, rows in their own order
2, 3  fused, taps split in as many ranges, rows of each in the order of their masks
====  ==========================================================================================

For the gradient of the weights: 0 by tap, 1 fused.

Tensor cores multiply float16, bfloat16, and, where ``torch.backends.cuda.matmul.allow_tf32`` is
set, float32. What they do not multiply goes by tap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch

from pointseg.files import written_whole

BY_TAP = 0
FUSED = 1

PRODUCTS = ("half", "tf32")
DIRECTIONS = ("forward", "weight_grad")
TABLE_PATH = Path(__file__).with_name("conv_choice.json")

# Numbers of taps up to which kernels are alike: one tap, 2 x 2 x 2, 3 x 3 x 3; then all larger.
_TAP_CLASSES = (1, 8, 27)


class Measured(NamedTuple):
    """What one algorithm took at one size."""

    direction: str
    products: str
    num_taps: int
    c_in: int
    c_out: int
    algorithm: int
    time_ms: float


class _Grid(NamedTuple):
    """Algorithms of one class of sizes, of every C_in with every C_out."""

    c_in: tuple[int, ...]
    c_out: tuple[int, ...]
    algorithms: dict[tuple[int, int], int]


def choose(
    dtype: torch.dtype, num_taps: int, c_in: int, c_out: int, direction: str = "forward"
) -> int:
    """The algorithm for features of `dtype` and weights [num_taps, c_in, c_out]."""
    products = _products(dtype)
    if products is None:
        return BY_TAP
    grid = _TABLE[direction, products, _tap_class(num_taps)]
    return grid.algorithms[_nearest(grid.c_in, c_in), _nearest(grid.c_out, c_out)]


def write_table(rows: Iterable[Measured], source: str, path: Path = TABLE_PATH) -> None:
    """Write the fastest algorithm of every size that was measured.

    Args:
        rows: of every direction, products and class of taps (1, 8, 27 and more) some C_in, each
            with the same C_out.
        source: what measured them: the GPU, the scene, the versions.
        path: the file.

    Raises:
        ValueError: sizes are missing.
    """
    fastest: dict[tuple[str, str, int, int, int], Measured] = {}
    for row in rows:
        known = fastest.get(row[:5])
        if known is None or (row.time_ms, row.algorithm) < (known.time_ms, known.algorithm):
            fastest[row[:5]] = row
    lines = [json.dumps(row[:6]) for _, row in sorted(fastest.items())]
    text = f'{{"source": {json.dumps(source)},\n"rows": [\n' + ",\n".join(lines) + "\n]}\n"
    _parse(text)
    with written_whole(path, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")


def _parse(text: str) -> dict[tuple[str, str, int], _Grid]:
    rows = json.loads(text)["rows"]
    table = {}
    for direction, products in product(DIRECTIONS, PRODUCTS):
        for tap_class, least in enumerate((1, *(taps + 1 for taps in _TAP_CLASSES))):
            algorithms = {
                (c_in, c_out): algorithm
                for *names, num_taps, c_in, c_out, algorithm in rows
                if names == [direction, products] and _tap_class(num_taps) == tap_class
            }
            c_in = tuple(sorted({size for size, _ in algorithms}))
            c_out = tuple(sorted({size for _, size in algorithms}))
            if not algorithms or len(algorithms) != len(c_in) * len(c_out):
                raise ValueError(
                    f"rows: expected every C_in with every C_out for {direction}, {products}, "
                    f"{least} taps and more, got {sorted(algorithms)}"
                )
            table[direction, products, tap_class] = _Grid(c_in, c_out, algorithms)
    return table


def _products(dtype: torch.dtype) -> str | None:
    if dtype in (torch.float16, torch.bfloat16):
        return "half"
    if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32:
        return "tf32"
    return None


def _tap_class(num_taps: int) -> int:
    return sum(num_taps > most for most in _TAP_CLASSES)


def _nearest(sizes: tuple[int, ...], size: int) -> int:
    """The one that is the fewest times as large or as small; sizes ascend."""
    nearest = sizes[0]
    for larger in sizes[1:]:
        if size * size > nearest * larger:
            nearest = larger
    return nearest


_TABLE = _parse(TABLE_PATH.read_text(encoding="utf-8"))
