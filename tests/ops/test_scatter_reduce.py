"""Scattered reduction against brute force, and its contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pointseg import ops
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes
from tests.ops.large import untouched_zeros

REDUCTIONS = ("sum", "mean", "max", "min")


@given(
    index=st.lists(st.integers(0, 5), max_size=40),
    spare=st.integers(0, 3),
    reduce=st.sampled_from(REDUCTIONS),
    ties=st.booleans(),
)
def test_matches_brute_force_and_its_gradients(
    index: list[int], spare: int, reduce: str, ties: bool
) -> None:
    src = scenes.randn(len(index), 3, seed=1)
    src = (src.round() if ties else src).requires_grad_()
    num_out = 6 + spare
    out = ops.scatter_reduce(src, torch.tensor(index, dtype=torch.int64), num_out, reduce)
    expected = oracle.segment(src, index, num_out, reduce)
    scenes.assert_close(out, expected, 1e-12)
    if not expected.requires_grad:
        return
    grad_out = scenes.randn(*out.shape, seed=2)
    (ours,) = torch.autograd.grad(out, src, grad_out)
    (theirs,) = torch.autograd.grad(expected, src, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("rows", [127, 128, 129, 256, 257, 511, 512, 513, 1024, 1025, 5000])
def test_bins_longer_than_a_chunk(reduce: str, rows: int) -> None:
    """Long bins among short ones, with ties across chunks."""
    generator = torch.Generator().manual_seed(rows)
    index = torch.cat([torch.full((rows,), 2), torch.randint(5, (400,), generator=generator)])
    index = index[torch.randperm(len(index), generator=generator)]
    src = scenes.randn(len(index), 2, seed=3).mul(2).round().requires_grad_()
    out = ops.scatter_reduce(src, index, 6, reduce)
    expected = oracle.segment(src, index.tolist(), 6, reduce)
    scenes.assert_close(out, expected, 1e-12)
    grad_out = scenes.randn(*out.shape, seed=4)
    (ours,) = torch.autograd.grad(out, src, grad_out)
    (theirs,) = torch.autograd.grad(expected, src, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_empty_bins_are_zero_and_pass_no_gradient(reduce: str) -> None:
    src = torch.full((2, 3), -4.0, requires_grad=True)
    out = ops.scatter_reduce(src, torch.tensor([1, 1]), 3, reduce)
    assert torch.equal(out[0], torch.zeros(3))
    assert torch.equal(out[2], torch.zeros(3))
    (grad,) = torch.autograd.grad(out[[0, 2]].sum(), src)
    assert torch.equal(grad, torch.zeros(2, 3))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_no_rows_and_no_bins(reduce: str) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert ops.scatter_reduce(torch.zeros(0, 3), nothing, 4, reduce).tolist() == [[0.0] * 3] * 4
    assert ops.scatter_reduce(torch.zeros(0, 3), nothing, 0, reduce).shape == (0, 3)


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_nan_wins(reduce: str) -> None:
    src = torch.tensor([[1.0], [math.nan], [3.0], [4.0]])
    out = ops.scatter_reduce(src, torch.tensor([0, 0, 0, 1]), 2, reduce)
    assert out.isnan()[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_out", [1, 300])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_largest_error_over_200k_rows(reduce: str, num_out: int, dtype: torch.dtype) -> None:
    index = torch.randint(num_out, (200_000,), generator=torch.Generator().manual_seed(1))
    # A sum of positive numbers that still fits float16 in one bin.
    src = scenes.randn(200_000, 3, seed=2).abs().mul(0.2).to(dtype)
    expected = ops.scatter_reduce(src.double(), index, num_out, reduce)
    exact = src.new_zeros(num_out, 3, dtype=torch.float64).index_add(0, index, src.double())
    if reduce == "mean":
        exact /= torch.bincount(index, minlength=num_out)[:, None]
    scenes.assert_close(expected, exact, 1e-12)
    out = ops.scatter_reduce(src, index, num_out, reduce)
    scenes.assert_close(out, exact, max(scenes.TOLERANCE[dtype], 1e-6))


def test_addresses_beyond_two_to_the_31(kernels: str) -> None:
    """The rows that are not zero lie at the end; the others go nowhere where that is allowed."""
    rows = 2_200_000
    src = untouched_zeros(rows, 1000)
    index = torch.full((rows,), 0 if kernels == "cpu" else -1)
    index[-1], index[-2] = 2, 1
    src[-1], src[-2] = 5.0, 7.0
    tail = ops.scatter_reduce(src[-2:], index[-2:], 3, "max")
    assert torch.equal(tail[:, 0], torch.tensor([0.0, 7.0, 5.0]))
    sliced = ops.scatter_reduce(src, index, 3, "sum")
    assert torch.equal(sliced, tail)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"src": torch.zeros(4)}, "src"),
        ({"src": torch.zeros(4, 2, dtype=torch.int64)}, "src"),
        ({"index": torch.zeros(3, dtype=torch.int64)}, "index"),
        ({"index": torch.zeros(4, 1, dtype=torch.int64)}, "index"),
        ({"index": torch.zeros(4, dtype=torch.int32)}, "index"),
        ({"num_out": -1}, "num_out"),
        ({"reduce": "avg"}, "reduce.*'mean'.*'avg'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, object], match: str) -> None:
    arguments: dict[str, object] = {
        "src": torch.zeros(4, 2),
        "index": torch.tensor([0, 1, 2, 0]),
        "num_out": 3,
        "reduce": "sum",
        **change,
    }
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.scatter_reduce(**arguments)


@pytest.mark.cpu_kernels
@pytest.mark.parametrize(("bad", "named"), [(3, "0 to 3"), (-1, "-1 to 2")])
def test_bins_that_are_not_there_are_refused(bad: int, named: str) -> None:
    index = torch.tensor([0, bad, 2, 0])
    with pytest.raises(ValueError, match=f"index.*0 to 2.*{named}"):
        ops.scatter_reduce(torch.zeros(4, 2), index, 3)
    # Under compilation nobody looks at values before the kernel does.
    with pytest.raises(RuntimeError, match=f"index.*got {bad} at row 1"):
        torch.ops.pointseg.scatter_reduce(torch.zeros(4, 2), index, 3, 0)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("rows", [4, 3000])
def test_on_cuda_rows_of_no_bin_are_left_out(reduce: str, rows: int, kernels: str) -> None:
    """Nothing else can be done about them without waiting for the device."""
    src = scenes.randn(rows, 3, seed=1).requires_grad_()
    index = torch.randint(3, (rows,), generator=torch.Generator().manual_seed(1))
    index[::2] = torch.tensor([-1, 3, -(2**40), 2**40]).repeat(rows)[: len(index[::2])]
    inside = (index >= 0) & (index < 3)
    if kernels == "cpu":
        src, index, inside = src.detach()[inside].requires_grad_(), index[inside], inside[inside]
    out = ops.scatter_reduce(src, index, 3, reduce)
    expected = oracle.segment(src[inside], index[inside].tolist(), 3, reduce)
    scenes.assert_close(out, expected, 1e-12)
    grad_out = scenes.randn(*out.shape, seed=2)
    (ours,) = torch.autograd.grad(out, src, grad_out)
    (theirs,) = torch.autograd.grad(expected, src, grad_out)
    scenes.assert_close(ours, theirs, 1e-12)


def test_large_tensor_of_indices() -> None:
    """More bins than rows, and bins in no order."""
    index = torch.randperm(100_000, generator=torch.Generator().manual_seed(1))[:50_000]
    src: Tensor = scenes.randn(50_000, 2, seed=1)
    out = ops.scatter_reduce(src, index, 100_000, "max")
    assert torch.equal(out[index], src)
    assert int((out != 0).any(dim=1).sum()) == 50_000
