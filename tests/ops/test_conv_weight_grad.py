"""Gradient of convolution weights on CUDA: algorithm 0 by tap, 1 by tiles of tensor cores.

Whole numbers make every sum exact, so results are compared bit for bit with float64.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg.ops.sparse_conv import map_arrays
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.ops import scenes

pytestmark = pytest.mark.cuda_kernels

KINDS = [
    (0, torch.float64),
    *(
        (algorithm, dtype)
        for algorithm in (0, 1)
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
    ),
]
every_kind = pytest.mark.parametrize(("algorithm", "dtype"), KINDS, ids=str)
SPECS = [KernelSpec(1), KernelSpec(2, 2), KernelSpec(3), KernelSpec(3, 2), KernelSpec(5)]
SMALL = scenes.random_voxels(60, 5, num_scenes=2, seed=8)
LARGE = scenes.surface_voxels(5_000, seed=5)  # three blocks, in no order


def weight_grad(feats: Tensor, grad_out: Tensor, kmap: KernelMap, algorithm: int) -> Tensor:
    return torch.ops.pointseg.sparse_conv_weight_grad(
        feats, grad_out, map_arrays(kmap)[:4], algorithm
    )


def problem(
    kmap: KernelMap, channels: tuple[int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """feats and grad_out."""
    feats = scenes.whole(kmap.num_in, channels[0], seed=1, dtype=dtype)
    return feats, scenes.whole(kmap.num_out, channels[1], seed=2, dtype=dtype)


def expected(feats: Tensor, grad_out: Tensor, kmap: KernelMap) -> Tensor:
    grads = []
    for tap in range(kmap.num_taps):
        in_rows, out_rows = kmap.pairs(tap)
        grads.append(feats[in_rows].double().T @ grad_out[out_rows].double())
    return torch.stack(grads)


def assert_exact(actual: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    assert actual.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert torch.equal(actual.double(), wanted)


@every_kind
@pytest.mark.parametrize(
    "channels",
    [(1, 1), (1, 72), (3, 20), (8, 8), (20, 3), (32, 40), (40, 33), (64, 64), (72, 130)],
    ids=str,
)
def test_every_number_of_channels(
    channels: tuple[int, int], algorithm: int, dtype: torch.dtype
) -> None:
    """Tiles of 32, 64 and 128, whole ones and not, several of them, rows of whole pieces or not."""
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(2))
    feats, grad_out = problem(kmap, channels, dtype)
    actual = weight_grad(feats, grad_out, kmap, algorithm)
    assert_exact(actual, expected(feats, grad_out, kmap), dtype)


@pytest.mark.parametrize("algorithm", [0, 1])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_kind_of_map(spec: KernelSpec, algorithm: int) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(spec)
    for of in (kmap, kmap.transposed(), kmap.select(range(0, kmap.num_taps, 2))):
        feats, grad_out = problem(of, (5, 8), torch.float16)
        actual = weight_grad(feats, grad_out, of, algorithm)
        assert_exact(actual, expected(feats, grad_out, of), torch.float16)


@every_kind
@pytest.mark.parametrize("spec", [KernelSpec(2, 2), KernelSpec(1)], ids=str)
def test_several_blocks(spec: KernelSpec, algorithm: int, dtype: torch.dtype) -> None:
    """With few taps every block is a slice of its own, whose sums are added."""
    kmap = VoxelGrid(LARGE).kernel_map(spec).transposed()
    assert kmap.segments.shape[0] >= 3
    feats, grad_out = problem(kmap, (8, 16), dtype)
    actual = weight_grad(feats, grad_out, kmap, algorithm)
    assert_exact(actual, expected(feats, grad_out, kmap), dtype)


def test_blocks_in_one_slice() -> None:
    """So many weights that there is no room for slices: a tile walks through all blocks."""
    kmap = VoxelGrid(LARGE[:4100]).kernel_map(KernelSpec(3)).select([0, 13])
    feats, grad_out = problem(kmap, (4, 4), torch.bfloat16)
    segments = torch.zeros(3, 2048, 2, dtype=torch.int64)
    segments[:, [3, 2000]] = kmap.segments
    arrays = (kmap.in_rows, kmap.out_rows, segments)
    wide = KernelMap(kmap.spec, kmap.num_in, kmap.num_out, *arrays)
    actual = weight_grad(feats, grad_out, wide, 1)
    assert_exact(actual, expected(feats, grad_out, wide), torch.bfloat16)


@pytest.mark.parametrize("chunk_bytes", [1, 400, 30_000, 500_000])
def test_any_chunks_give_the_same(chunk_bytes: int, kernels: str) -> None:
    if kernels != "emulated":
        pytest.skip("the size of chunks can be chosen in the emulation alone")
    kmap = VoxelGrid(LARGE if chunk_bytes > 10_000 else SMALL).kernel_map(KernelSpec(3, 2))
    feats, grad_out = problem(kmap, (3, 4), torch.float32)
    in_chunks = torch.ops.pointseg_emulated.sparse_conv_weight_grad_in_chunks
    actual = in_chunks(feats, grad_out, map_arrays(kmap), chunk_bytes)
    assert_exact(actual, expected(feats, grad_out, kmap), torch.float32)


@pytest.mark.parametrize("algorithm", [0, 1])
def test_taps_without_pairs(algorithm: int) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(3))
    for empty in ([5, 6, 7], [0, 1], [25, 26], range(27)):
        segments = kmap.segments.clone()
        segments[:, list(empty)] = 0
        arrays = (kmap.in_rows, kmap.out_rows, segments)
        part = KernelMap(kmap.spec, kmap.num_in, kmap.num_out, *arrays)
        feats, grad_out = problem(part, (3, 4), torch.float16)
        actual = weight_grad(feats, grad_out, part, algorithm)
        assert_exact(actual, expected(feats, grad_out, part), torch.float16)


@pytest.mark.parametrize("algorithm", [0, 1])
@pytest.mark.parametrize("channels", [(3, 4), (0, 4), (4, 0)], ids=str)
def test_no_rows_and_no_channels(channels: tuple[int, int], algorithm: int) -> None:
    for coords in (SMALL[:0], SMALL[:1]):
        kmap = VoxelGrid(coords).kernel_map(KernelSpec(3))
        feats, grad_out = problem(kmap, channels, torch.float32)
        actual = weight_grad(feats, grad_out, kmap, algorithm)
        assert_exact(actual, expected(feats, grad_out, kmap), torch.float32)


@every_kind
def test_rows_at_odd_addresses(algorithm: int, dtype: torch.dtype) -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(2))
    feats, grad_out = problem(kmap, (8, 16), dtype)
    odd = [
        torch.empty(x.numel() + 1, dtype=dtype)[1:].view_as(x).copy_(x) for x in (feats, grad_out)
    ]
    actual = weight_grad(*odd, kmap, algorithm)
    assert_exact(actual, expected(feats, grad_out, kmap), dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("algorithm", [0, 1])
def test_sums_are_float32(algorithm: int, dtype: torch.dtype) -> None:
    """Sums that no 16-bit number holds."""
    kmap = VoxelGrid(LARGE).kernel_map(KernelSpec(1))
    feats = torch.full((kmap.num_in, 1), 8.0, dtype=dtype)
    grad_out = torch.full((kmap.num_out, 1), 8.0, dtype=dtype)
    assert kmap.num_out % 8 != 0
    assert weight_grad(feats, grad_out, kmap, algorithm).item() == 64 * kmap.num_out > 65_504


def test_tensor_cores_round_float32_to_ten_bits_of_mantissa() -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(2))
    feats = scenes.randn(kmap.num_in, 8, seed=1, dtype=torch.float32)
    grad_out = scenes.randn(kmap.num_out, 8, seed=2, dtype=torch.float32)
    actual = weight_grad(feats, grad_out, kmap, 1)
    # Each factor is off by 2^-11 at most.
    magnitude = expected(feats.abs(), grad_out.abs(), kmap)
    error = (actual - expected(feats, grad_out, kmap)).abs()
    assert (error <= 2.1 * 2.0**-11 * magnitude).all()


@pytest.mark.parametrize(("algorithm", "dtype"), [(0, torch.float32), (1, torch.bfloat16)])
def test_same_bits_whatever_the_order_of_threads(
    algorithm: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    kmap = VoxelGrid(LARGE).kernel_map(KernelSpec(2, 2)).transposed()
    feats = scenes.randn(kmap.num_in, 20, seed=1, dtype=dtype)
    grad_out = scenes.randn(kmap.num_out, 40, seed=2, dtype=dtype)
    results = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
        results.append(weight_grad(feats, grad_out, kmap, algorithm))
    assert torch.equal(*results)


def test_bad_algorithms_are_named() -> None:
    kmap = VoxelGrid(SMALL).kernel_map(KernelSpec(1))
    feats, grad_out = problem(kmap, (3, 4), torch.float64)
    with pytest.raises(RuntimeError, match="algorithm: expected 0 for float64"):
        weight_grad(feats, grad_out, kmap, 1)
    with pytest.raises(RuntimeError, match="algorithm: expected 0 or 1, got 2"):
        weight_grad(feats, grad_out, kmap, 2)
