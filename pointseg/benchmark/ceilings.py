"""What a device can do at most, measured: floors are of this device, not of a data sheet.

Three rates bound every operator here: a copy through memory, rows gathered at random from the
second-level cache, and matrix products of a convolution's shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pointseg.benchmark.device_timing import REPEATS, event_median_ms
from pointseg.benchmark.timing import copy_gb_per_s

# Kind of arithmetic: dtype of the numbers, and torch's precision of float32 products.
KINDS = {
    "float32": (torch.float32, "highest"),
    "tf32": (torch.float32, "high"),
    "float16": (torch.float16, "highest"),
    "bfloat16": (torch.bfloat16, "highest"),
}
BAG = 16  # rows that are added to one: about the neighbours of a voxel
BURST = 16  # gathers between two events: one alone is over too soon


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        cached_bytes: of the table that rows are gathered from, and of the rows that come out; both
            are to fit the second-level cache.
        widths: channels C.
        rows: of the products [rows, 9 C] x [C, 9 C]^T: nine neighbours a voxel.
        square: edge of one large product.
    """

    cached_bytes: int = 2**23
    widths: tuple[int, ...] = (32, 64, 128, 256)
    rows: int = 2**17
    square: int = 8192


@dataclass(frozen=True)
class Ceilings:
    """Rates of one device.

    Attributes:
        copy_gb_per_s: bytes read and bytes written.
        gather_gb_per_s: by bytes of a row; the indices are not counted.
        products_tflops: by kind of arithmetic, then by "m x k x n".
    """

    copy_gb_per_s: float
    gather_gb_per_s: dict[int, float]
    products_tflops: dict[str, dict[str, float]]

    def gather(self, row_bytes: int) -> float:
        """GB/s for rows of the nearest size that was measured."""
        nearest = min(self.gather_gb_per_s, key=lambda size: abs(size - row_bytes))
        return self.gather_gb_per_s[nearest]

    def tflops(self, kind: str) -> float:
        """The best of a kind of arithmetic."""
        return max(self.products_tflops[kind].values())


def measure_ceilings(device: torch.device, sizes: Sizes | None = None) -> Ceilings:
    """All of them; a second or two on a GPU."""
    sizes = sizes or Sizes()
    products: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        shapes = [(sizes.rows, 9 * c, c) for c in sizes.widths] + [(sizes.square,) * 3]
        products[kind] = {
            f"{m} x {k} x {n}": product_tflops(kind, (m, k, n), device) for m, k, n in shapes
        }
    rates = {2 * c: gather_gb_per_s(2 * c, sizes.cached_bytes, device) for c in sizes.widths}
    return Ceilings(copy_gb_per_s(device), rates, products)


def gather_gb_per_s(row_bytes: int, table_bytes: int, device: torch.device) -> float:
    """Rows at random from a table in the cache: the better of torch's two ways, one that writes
    them out and one that adds them up.
    """
    rows, columns = table_bytes // row_bytes, row_bytes // 4
    table, out = torch.randn(2, rows, columns, device=device)
    index = torch.randint(rows, (rows, BAG), dtype=torch.int32, device=device)
    some = index[:, 0].contiguous()

    def write_out() -> None:
        for _ in range(BURST):
            torch.index_select(table, 0, some, out=out)

    written = 2 * BURST * table_bytes / event_median_ms(write_out, REPEATS, device)
    add_up_ms = event_median_ms(lambda: F.embedding_bag(index, table, mode="sum"), REPEATS, device)
    return 1e-6 * max(written, (BAG + 1) * table_bytes / add_up_ms)


def product_tflops(kind: str, shape: tuple[int, int, int], device: torch.device) -> float:
    """Rate of torch's matrix product [m, k] x [k, n]."""
    m, k, n = shape
    dtype, _ = KINDS[kind]
    a, b = torch.randn(m, k, device=device).to(dtype), torch.randn(k, n, device=device).to(dtype)
    with precision_of(kind):
        ms = event_median_ms(lambda: a @ b, REPEATS, device)
    return 2e-9 * m * k * n / ms


@contextmanager
def precision_of(kind: str) -> Iterator[None]:
    """Let float32 products be as precise as `kind` says inside the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(KINDS[kind][1])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
