"""Nearest codes, ties, and sums by code."""

from __future__ import annotations

import pytest
import torch

from pointseg import ops
from pointseg.ops.vector_quantize import vector_quantize_reference
from tests.ops import scenes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("entries", [1, 2, 7, 40])
def test_the_nearest_code_by_distance(entries: int, dtype: torch.dtype) -> None:
    z = scenes.randn(3_000, 4, 6, seed=1, dtype=dtype)
    codes = scenes.randn(4, entries, 6, seed=2, dtype=dtype)
    index = ops.vector_quantize(z, codes)
    distances = torch.stack([torch.cdist(z[:, h].double(), codes[h].double()) for h in range(4)], 1)
    chosen = distances.gather(2, index[..., None])[..., 0]
    assert index.dtype == torch.int64
    # Rounding may only decide between distances that are equal to it.
    assert (chosen - distances.min(dim=2).values).max() <= (
        1e-5 if dtype == torch.float32 else 1e-12
    )


def test_ties_go_to_the_lowest_entry() -> None:
    z = torch.zeros(5, 1, 3)
    codes = torch.tensor([[[2.0, 0, 0], [1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]]])
    assert ops.vector_quantize(z, codes).eq(1).all()
    assert vector_quantize_reference(z, codes).eq(1).all()


def test_nan_is_never_the_smallest() -> None:
    codes = torch.tensor([[[float("nan")], [5.0], [1.0]]])
    assert ops.vector_quantize(torch.zeros(2, 1, 1), codes).eq(2).all()
    assert ops.vector_quantize(torch.full((2, 1, 1), float("nan")), codes).eq(0).all()
    assert vector_quantize_reference(torch.zeros(2, 1, 1), codes).eq(2).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_vectors_are_compared_in_float32(dtype: torch.dtype) -> None:
    z, codes = scenes.randn(500, 2, 5, seed=1, dtype=dtype), scenes.randn(2, 9, 5, seed=2)
    codes = codes.float()
    assert torch.equal(ops.vector_quantize(z, codes), ops.vector_quantize(z.float(), codes))


@pytest.mark.cpu_kernels
def test_same_for_any_number_of_threads_and_empty() -> None:
    z, codes = scenes.randn(5_000, 3, 4, seed=1), scenes.randn(3, 6, 4, seed=2)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(
            (
                ops.vector_quantize(z, codes),
                *ops.code_sums(z, results[0][0] if results else ops.vector_quantize(z, codes), 6),
            )
        )
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert ops.vector_quantize(z[:0], codes).shape == (0, 3)
    counts, sums = ops.code_sums(z[:0], results[0][0][:0], 6)
    assert counts.eq(0).all() and sums.eq(0).all()


def test_sums_by_code() -> None:
    z, codes = scenes.randn(800, 3, 4, seed=1), scenes.randn(3, 6, 4, seed=2)
    index = ops.vector_quantize(z, codes)
    counts, sums = ops.code_sums(z, index, 6)
    for head in range(3):
        for entry in range(6):
            mine = z[index[:, head] == entry, head]
            assert counts[head, entry] == len(mine)
            scenes.assert_close(sums[head, entry], mine.sum(dim=0), 1e-12)


def test_opcheck_and_no_gradient() -> None:
    z, codes = scenes.randn(20, 2, 3, seed=1), scenes.randn(2, 4, 3, seed=2)
    torch.library.opcheck(torch.ops.pointseg.vector_quantize.default, (z, codes))
    assert not ops.vector_quantize(z.requires_grad_(), codes).requires_grad


def test_bad_arguments_are_named() -> None:
    z, codes = torch.randn(5, 2, 3), torch.randn(2, 4, 3)
    for message, kind, arguments in (
        ("z: expected a tensor of shape", ValueError, (z[0], codes)),
        ("z: expected a floating", TypeError, (z.long(), codes)),
        ("codes: expected \\[2, D, 3\\]", ValueError, (z, codes[:1])),
        ("at least one entry", ValueError, (z, codes[:, :0])),
        ("codes: expected torch.float32", TypeError, (z, codes.double())),
    ):
        with pytest.raises(kind, match=message):
            ops.vector_quantize(*arguments)
    with pytest.raises(ValueError, match="index: expected"):
        ops.code_sums(z, torch.zeros(4, 2, dtype=torch.int64), 4)
    for outside in (-1, 4):
        with pytest.raises(ValueError, match="index: expected codes 0 to 3"):
            ops.code_sums(z, torch.full((5, 2), outside), 4)
    with pytest.raises(ValueError, match="z: expected a tensor of shape"):
        ops.code_sums(z[0], torch.zeros(2, dtype=torch.int64), 4)


def test_half_vectors_are_counted_in_float32() -> None:
    z, index = torch.ones(3_001, 1, 2).bfloat16(), torch.zeros(3_001, 1, dtype=torch.int64)
    counts, sums = ops.code_sums(z, index, 2)
    assert counts.tolist() == [[3_001.0, 0.0]]
    assert sums.tolist() == [[[3_001.0, 3_001.0], [0.0, 0.0]]]
