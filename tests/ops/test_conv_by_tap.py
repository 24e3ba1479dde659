"""Convolution by one library GEMM per tap, in chunks: algorithm 0 of the CUDA kernels.

Whole numbers make every sum exact, so results are compared bit for bit with float64.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg.ops.sparse_conv import map_arrays, sparse_conv_fused_reference
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.ops import scenes

pytestmark = pytest.mark.cuda_kernels

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
SPECS = [KernelSpec(1), KernelSpec(2, 2), KernelSpec(3), KernelSpec(3, 2), KernelSpec(5)]
SMALL = scenes.random_voxels(150, 7, num_scenes=2, seed=8)
LARGE = scenes.surface_voxels(5_000, seed=5)  # three blocks, in no order


def conv(
    feats: Tensor,
    weight: Tensor,
    kmap: KernelMap,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    arguments = (feats, weight, bias, residual, relu, map_arrays(kmap)[:4], kmap.num_out)
    return torch.ops.pointseg.sparse_conv_fused(*arguments, 0)


def problem(
    kmap: KernelMap, channels: tuple[int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """feats, weight, bias and residual."""
    c_in, c_out = channels
    shapes = (kmap.num_in, c_in), (kmap.num_taps, c_in, c_out), (c_out,), (kmap.num_out, c_out)
    feats, weight, bias, residual = (
        scenes.whole(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)
    )
    return feats, weight, bias, residual


def expected(
    feats: Tensor,
    weight: Tensor,
    kmap: KernelMap,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    exact = [None if x is None else x.double() for x in (feats, weight, bias, residual)]
    return sparse_conv_fused_reference(*exact[:2], kmap, *exact[2:], relu).to(feats.dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "channels",
    [(1, 1), (1, 72), (3, 20), (8, 8), (20, 3), (32, 40), (40, 33), (64, 1), (72, 64), (130, 300)],
    ids=str,
)
def test_every_number_of_channels(channels: tuple[int, int], dtype: torch.dtype) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats, weight, bias, residual = problem(kmap, channels, dtype)
    for arguments in ((), (bias,), (None, residual), (bias, residual, True)):
        actual = conv(feats, weight, kmap, *arguments)
        assert actual.dtype == dtype
        assert torch.equal(actual, expected(feats, weight, kmap, *arguments))


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("coords", [SMALL, LARGE], ids=["one_block", "blocks"])
def test_every_kind_of_map(spec: KernelSpec, coords: Tensor) -> None:
    kmap = VoxelGrid(coords).kernel_map(spec)
    for of in (kmap, kmap.transposed(), kmap.select(range(0, kmap.num_taps, 2))):
        feats, weight, bias, _ = problem(of, (5, 8), torch.float32)
        assert torch.equal(conv(feats, weight, of, bias), expected(feats, weight, of, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("spec", [KernelSpec(2, 2), KernelSpec(3)], ids=str)
@pytest.mark.parametrize("chunk_bytes", [1, 400, 30_000, 500_000])
def test_any_chunks_give_the_same(
    spec: KernelSpec, chunk_bytes: int, dtype: torch.dtype, kernels: str
) -> None:
    """From one pair at a time to a few taps; chunks begin and end in the middle of groups."""
    if kernels != "emulated":
        pytest.skip("the size of chunks can be chosen in the emulation alone")
    kmap = VoxelGrid(LARGE if chunk_bytes > 10_000 else SMALL).kernel_map(spec)
    feats, weight, bias, residual = problem(kmap, (3, 4), dtype)
    in_chunks = torch.ops.pointseg_emulated.sparse_conv_in_chunks
    for arguments in ((None, None, False), (bias, residual, True)):
        actual = in_chunks(feats, weight, *arguments, map_arrays(kmap), kmap.num_out, chunk_bytes)
        assert torch.equal(actual, expected(feats, weight, kmap, *arguments))


def test_rounds_once_however_many_chunks(kernels: str) -> None:
    """A sum of 27 halves of a unit in the last place: each lost if rounded on its way."""
    if kernels != "emulated":
        pytest.skip("the size of chunks can be chosen in the emulation alone")
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats = torch.full((kmap.num_in, 1), 0.5, dtype=torch.bfloat16)
    weight = torch.ones(27, 1, 1, dtype=torch.bfloat16)
    bias = torch.tensor([256.0], dtype=torch.bfloat16)
    arguments = (feats, weight, bias, None, False, map_arrays(kmap), kmap.num_out)
    actual = torch.ops.pointseg_emulated.sparse_conv_in_chunks(*arguments, 1)
    assert torch.equal(actual, expected(feats, weight, kmap, bias))
    assert (actual > 256).any()


def test_taps_without_pairs() -> None:
    """In the middle, first, last, all; and a block that has none at all."""
    kmap = VoxelGrid(LARGE).kernel_map(KernelSpec(3))
    for empty in ([5, 6, 7], [0, 1], [25, 26], range(27)):
        segments = kmap.segments.clone()
        segments[:, list(empty)] = 0
        segments[1] = 0
        arrays = (kmap.in_rows, kmap.out_rows, segments)
        part = KernelMap(kmap.spec, kmap.num_in, kmap.num_out, *arrays)
        feats, weight, bias, _ = problem(part, (3, 4), torch.float32)
        assert torch.equal(conv(feats, weight, part, bias), expected(feats, weight, part, bias))


@pytest.mark.parametrize("coords", [SMALL[:0], SMALL[:1]], ids=["none", "one"])
def test_few_rows(coords: Tensor) -> None:
    kmap = VoxelGrid(coords).kernel_map(KernelSpec(3))
    feats, weight, bias, residual = problem(kmap, (3, 4), torch.float16)
    actual = conv(feats, weight, kmap, bias, residual)
    assert torch.equal(actual, expected(feats, weight, kmap, bias, residual))


@pytest.mark.parametrize("channels", [(0, 4), (4, 0), (0, 0)], ids=str)
def test_no_channels(channels: tuple[int, int]) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats, weight, bias, _ = problem(kmap, channels, torch.float32)
    assert torch.equal(conv(feats, weight, kmap, bias), expected(feats, weight, kmap, bias))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_are_rounded_to_the_dtype_of_the_features(dtype: torch.dtype) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats = scenes.randn(kmap.num_in, 8, seed=1, dtype=dtype)
    weight = scenes.randn(27, 8, 8, seed=2, dtype=torch.float32)
    assert torch.equal(conv(feats, weight, kmap), conv(feats, weight.to(dtype), kmap))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_views_of_weights_and_rows_at_odd_addresses(dtype: torch.dtype) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats, weight, _, _ = problem(kmap, (8, 16), dtype)
    odd = torch.empty(feats.numel() + 1, dtype=dtype)[1:].view_as(feats).copy_(feats)
    turned = weight.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(conv(odd, turned, kmap), expected(feats, weight, kmap))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_same_bits_whatever_the_order_of_threads(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    kmap = VoxelGrid(LARGE).kernel_map(KernelSpec(3))
    feats = scenes.randn(kmap.num_in, 12, seed=1, dtype=dtype)
    weight = scenes.randn(27, 12, 20, seed=2, dtype=dtype)
    results = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
        results.append(conv(feats, weight, kmap))
    assert torch.equal(*results)


def test_autocast_does_not_reach_the_products(kernels: str) -> None:
    """The GEMMs inside are of float32, whatever autocast makes of `torch.mm`."""
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats = scenes.randn(kmap.num_in, 8, seed=1, dtype=torch.float32)
    weight = scenes.randn(27, 8, 8, seed=2, dtype=torch.float32)
    plain = conv(feats, weight, kmap)
    with torch.autocast("cuda" if kernels == "cuda" else "cpu", dtype=torch.bfloat16):
        assert torch.equal(conv(feats, weight, kmap), plain)


def test_what_tap_pairs_must_be() -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    feats, weight, _, _ = problem(kmap, (3, 4), torch.float32)
    lists = [kmap.in_rows, kmap.out_rows, kmap.segments]
    call = torch.ops.pointseg.sparse_conv_fused
    for tap_pairs, match in (
        (kmap.tap_pairs()[1:], "tap_pairs: expected 27 numbers"),
        (kmap.tap_pairs() + 1, "tap_pairs: expected at most"),
        (kmap.tap_pairs().int(), "tap_pairs: expected dtype"),
    ):
        with pytest.raises(RuntimeError, match=match):
            call(feats, weight, None, None, False, [*lists, tap_pairs], kmap.num_out, 0)
