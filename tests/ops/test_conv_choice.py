"""The table that chooses the algorithm of a convolution on CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pointseg.ops import conv_choice
from pointseg.ops.conv_choice import DIRECTIONS, PRODUCTS, Measured, choose, write_table

pytestmark = pytest.mark.cpu_kernels  # none are called


@contextmanager
def allow_tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("num_taps", [1, 8, 27, 33, 125])
def test_narrow_channels_take_one_launch_and_wide_ones_split_taps(
    dtype: torch.dtype, num_taps: int
) -> None:
    split = (1,) if num_taps == 1 else (2, 3)
    with allow_tf32(True):
        assert all(choose(dtype, num_taps, c, 32) == 1 for c in (3, 16, 32, 64))
        assert all(choose(dtype, num_taps, c, c) in split for c in (96, 128, 200, 256, 512))


@pytest.mark.parametrize("allowed", [False, True])
def test_float32_takes_tensor_cores_only_where_torch_may(allowed: bool) -> None:
    with allow_tf32(allowed):
        assert (choose(torch.float32, 27, 64, 64) == conv_choice.BY_TAP) is not allowed
        assert choose(torch.float64, 27, 64, 64) == conv_choice.BY_TAP


def measured(**times: float) -> list[Measured]:
    """One size of every class; `times` of the algorithms a0, a1, .. at one of them."""
    rows = [
        Measured(direction, products, num_taps, 64, 64, 1, 1.0)
        for direction in DIRECTIONS
        for products in PRODUCTS
        for num_taps in (1, 8, 27, 125)
    ]
    rows += [Measured("forward", "half", 27, *sizes, 1, 1.0) for sizes in ((64, 256), (256, 64))]
    rows += [
        Measured("forward", "half", 27, 256, 256, int(name[1:]), time)
        for name, time in times.items()
    ]
    return rows


def test_the_fastest_of_the_nearest_size_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.json"
    write_table(measured(a3=2.0, a0=1.5, a2=1.5), 'a "GPU"', path)
    monkeypatch.setattr(conv_choice, "_TABLE", conv_choice._parse(path.read_text()))
    assert choose(torch.float16, 27, 256, 256) == 0  # the first of equals
    assert choose(torch.float16, 27, 129, 256) == 0
    assert choose(torch.float16, 27, 64, 129) == 1
    assert choose(torch.float16, 8, 256, 256) == 1
    assert choose(torch.float16, 27, 256, 256, "weight_grad") == 1
    assert choose(torch.float16, 27, 0, 0) == 1


def test_a_table_without_some_sizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    whole = measured(a0=1.0)
    for missing, named in (
        (whole[-1], "forward, half, 9 taps and more"),
        (whole[0], "forward, half, 1 taps and more"),
        (whole[15], "weight_grad, tf32, 28 taps and more"),
    ):
        with pytest.raises(ValueError, match=f"rows: expected every C_in.*{named}"):
            write_table([row for row in whole if row != missing], "a GPU", path)
    assert not path.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_choosing_compiles() -> None:
    def function(x: torch.Tensor, size: int) -> torch.Tensor:
        return x + choose(x.dtype, 27, size, size)

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    for allowed in (True, False):
        with allow_tf32(allowed):
            for size in (32, 128):
                for dtype in (torch.float32, torch.float16):
                    x = torch.zeros(1, dtype=dtype)
                    assert torch.equal(compiled(x, size), function(x, size))
