"""Which algorithm a convolution takes on CUDA: a table that the benchmark measures.

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
import math
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

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


class _Choice(NamedTuple):
    c_in: int
    c_out: int
    algorithm: int


def choose(
    dtype: torch.dtype, num_taps: int, c_in: int, c_out: int, direction: str = "forward"
) -> int:
    """The algorithm for features of `dtype` and weights [num_taps, c_in, c_out]."""
    products = _products(dtype)
    if products is None:
        return BY_TAP
    return _nearest(direction, products, num_taps, c_in, c_out)


def write_table(rows: Iterable[Measured], source: str, path: Path = TABLE_PATH) -> None:
    """Write the fastest algorithm of every size that was measured.

    Args:
        rows: all directions, products and classes of taps (1, 8, 27 and more) must be there.
        source: what measured them: the GPU, the scene, the versions.
        path: the file.

    Raises:
        ValueError: a class of sizes is missing.
    """
    fastest: dict[tuple[str, str, int, int, int], Measured] = {}
    for row in rows:
        known = fastest.get(row[:5])
        if known is None or (row.time_ms, row.algorithm) < (known.time_ms, known.algorithm):
            fastest[row[:5]] = row
    lines = [json.dumps(row[:6]) for _, row in sorted(fastest.items())]
    text = f'{{"source": {json.dumps(source)},\n"rows": [\n' + ",\n".join(lines) + "\n]}\n"
    _parse(text)
    path.write_text(text, encoding="utf-8")


_Table = dict[tuple[str, str, int], list[_Choice]]


def _parse(text: str) -> _Table:
    table: _Table = {
        (direction, products, taps): []
        for direction in DIRECTIONS
        for products in PRODUCTS
        for taps in range(len(_TAP_CLASSES) + 1)
    }
    for direction, products, num_taps, *choice in json.loads(text)["rows"]:
        table[direction, products, bisect_left(_TAP_CLASSES, num_taps)].append(_Choice(*choice))
    for (direction, products, taps), choices in table.items():
        if not choices:
            least = (1, *(size + 1 for size in _TAP_CLASSES))[taps]
            raise ValueError(f"rows: nothing for {direction}, {products}, {least} taps and more")
    return table


@cache
def _nearest(direction: str, products: str, num_taps: int, c_in: int, c_out: int) -> int:
    choices = _TABLE[direction, products, bisect_left(_TAP_CLASSES, num_taps)]
    return min(choices, key=lambda choice: _distance(choice, c_in, c_out)).algorithm


def _products(dtype: torch.dtype) -> str | None:
    if dtype in (torch.float16, torch.bfloat16):
        return "half"
    if dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32:
        return "tf32"
    return None


def _distance(choice: _Choice, c_in: int, c_out: int) -> float:
    """Of two sizes: how often one must be doubled to become the other."""
    return abs(math.log2(choice.c_in / max(c_in, 1))) + abs(math.log2(choice.c_out / max(c_out, 1)))


_TABLE = _parse(TABLE_PATH.read_text(encoding="utf-8"))
