"""Matrices of more than 2^31 elements, where an index of 32 bits ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.sparse import KernelMap
from tests.ops.large import map_of_far_rows, near_rows

CHANNELS = 64
ROWS = 2**31 // CHANNELS + 1000
DTYPE = torch.float16


def far_feats(rows: int, device: torch.device) -> Tensor:
    """Zeros with three random rows: those that the map of far rows reads."""
    needed = 3 * rows * CHANNELS * DTYPE.itemsize  # features, their gradient, and what comes beside
    if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] < needed:
        pytest.skip(f"less than {needed >> 30} GiB of GPU memory are free")
    feats = torch.zeros(rows, CHANNELS, dtype=DTYPE, device=device)
    generator = torch.Generator().manual_seed(0)
    _, far = map_of_far_rows(rows, 2)
    feats[far] = torch.randn(3, CHANNELS, generator=generator).to(device, DTYPE)
    return feats


def maps(rows: int, device: torch.device) -> tuple[KernelMap, KernelMap, list[int]]:
    """The map of far rows, the same of the rows it reads alone, and which these are."""
    kmap, far = map_of_far_rows(rows, 2)
    near = near_rows(kmap)
    return _to(kmap, device), _to(near, device), far


def _to(kmap: KernelMap, device: torch.device) -> KernelMap:
    arrays = (x.to(device) for x in (kmap.in_rows, kmap.out_rows, kmap.segments))
    return KernelMap(kmap.spec, kmap.num_in, kmap.num_out, *arrays)


def check_far_rows(rows: int, device: torch.device) -> None:
    """Forward and backward over far rows give what near ones give."""
    feats = far_feats(rows, device)
    kmap, near, far = maps(rows, device)
    generator = torch.Generator().manual_seed(1)
    full = torch.randn(2, CHANNELS, CHANNELS, generator=generator).to(device, DTYPE)
    per_channel = torch.randn(2, CHANNELS, generator=generator).to(device, DTYPE)
    functions = (
        (lambda x, m, w: ops.sparse_conv(x, w, m), full),
        (lambda x, m, w: ops.depthwise_conv(x, w, m), per_channel),
        (lambda x, m, w: ops.pool(x, m, "max") * w[0], per_channel),
        (lambda x, m, w: ops.pool(x, m, "sum") * w[0], per_channel),
        (lambda x, m, w: ops.gather_neighbors(x, m) * w, per_channel),
    )
    for function, weight in functions:
        weight = weight.detach().requires_grad_()
        few = feats[far].requires_grad_()
        wanted = function(few, near, weight)
        many = feats.detach().requires_grad_()
        out = function(many, kmap, weight)
        assert torch.equal(out, wanted)
        grad, grad_weight = torch.autograd.grad(out.sum(), (many, weight))
        expected, expected_weight = torch.autograd.grad(wanted.sum(), (few, weight))
        assert torch.equal(grad[far], expected)
        assert torch.equal(grad_weight, expected_weight)
        assert int(torch.count_nonzero(grad[1000])) == 0
        del out, grad, many


def test_rows_beyond_two_to_the_thirty_first_element(gpu: torch.device) -> None:
    check_far_rows(ROWS, gpu)
    torch.cuda.empty_cache()


def test_batch_norm_and_bins_of_far_rows(gpu: torch.device) -> None:
    feats = far_feats(ROWS, gpu)
    ones, zeros = torch.ones(CHANNELS, device=gpu), torch.zeros(CHANNELS, device=gpu)
    out = ops.batch_norm(feats, 2 * ones, zeros, zeros, ones, eps=0.0)
    assert torch.equal(out[-3:], 2 * feats[-3:])
    del out
    index = torch.zeros(ROWS, dtype=torch.int64, device=gpu)
    index[-2:] = 1
    sums = ops.scatter_reduce(feats, index, 2, "sum")
    assert torch.equal(sums[1], (feats[-2].float() + feats[-1].float()).half())
    torch.cuda.empty_cache()


def test_the_check_of_far_rows_on_few() -> None:
    """The same function where any machine can run it."""
    check_far_rows(3000, torch.device("cpu"))
