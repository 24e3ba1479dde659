"""The fused algorithms of sparse convolution on CUDA, and the order of rows that two of them take.

Which algorithm a convolution takes is a table's choice; here each is called at every kind of size.
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops import conv_choice
from pointseg.ops.mask_order import mask_order_reference
from pointseg.ops.sparse_conv import map_arrays, sparse_conv_fused_reference
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.ops import scenes
from tests.ops.large import in_double

pytestmark = pytest.mark.cuda_kernels

FUSED = [1, 2, 3]
DTYPES = [torch.float16, torch.bfloat16, torch.float32]
every_algorithm = pytest.mark.parametrize("algorithm", FUSED)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def convolve(
    algorithm: int,
    feats: Tensor,
    weight: Tensor,
    kmap: KernelMap,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    arrays = map_arrays(kmap, algorithm)
    call = (feats, weight, bias, residual, relu, arrays, kmap.num_out, algorithm)
    result: Tensor = torch.ops.pointseg.sparse_conv_fused(*call)
    return result


def randn(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Numbers of 8 significant bits: tensor cores take 11 of a float32, so products are exact."""
    return scenes.randn(*shape, seed=seed, dtype=torch.bfloat16).to(dtype)


def first_taps(kmap: KernelMap, num_taps: int) -> KernelMap:
    segments = kmap.segments[:, :num_taps].contiguous()
    return KernelMap(kmap.spec, kmap.num_in, kmap.num_out, kmap.in_rows, kmap.out_rows, segments)


@functools.cache
def make_grid(is_sorted: bool) -> VoxelGrid:
    """70 rows, which no tile divides, of two scenes."""
    coords = scenes.random_voxels(70, 4, num_scenes=2, seed=8)
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))
    return VoxelGrid(coords if is_sorted else coords[order], num_scenes=2)


def make_map(name: str) -> KernelMap:
    """One of MAPS, kept by its grid."""
    grid = make_grid(is_sorted=name != "unsorted")
    if name == "33 taps":
        return first_taps(grid.kernel_map(KernelSpec(5)), 33)
    spec = {
        "1 tap": KernelSpec(1),
        "down": KernelSpec(2, 2),
        "up": KernelSpec(2, 2),
        "125 taps": KernelSpec(5),
        "strided": KernelSpec(3, 2),
        "strided up": KernelSpec(3, 2),
        "cross": KernelSpec(5, shape="cross"),
    }.get(name, KernelSpec(3))
    kmap = grid.kernel_map(spec)
    return kmap.transposed() if name in ("up", "strided up", "mirrored") else kmap


MAPS = [
    *("1 tap", "down", "up", "cube", "mirrored", "unsorted", "33 taps", "125 taps"),
    *("strided", "strided up", "cross"),
]


def check(
    algorithm: int, kmap: KernelMap, c_in: int, c_out: int, dtype: torch.dtype, ends: bool
) -> None:
    feats = randn(kmap.num_in, c_in, seed=1, dtype=dtype)
    weight = randn(kmap.num_taps, c_in, c_out, seed=2, dtype=dtype)
    bias = randn(c_out, seed=3, dtype=dtype) if ends else None
    residual = randn(kmap.num_out, c_out, seed=4, dtype=dtype) if ends else None
    out = convolve(algorithm, feats, weight, kmap, bias, residual, relu=ends)
    wide = [None if x is None else x.double() for x in (feats, weight, bias, residual)]
    expected = sparse_conv_fused_reference(*wide[:2], kmap, *wide[2:], ends)
    assert out.dtype == dtype
    scenes.assert_close(out, expected, scenes.TOLERANCE[dtype])


@every_algorithm
@every_dtype
@pytest.mark.parametrize(
    "channels",
    [(3, 8), (8, 20), (20, 3), (32, 48), (48, 32), (64, 96), (96, 64), (136, 33), (8, 136)],
    ids=str,
)
def test_every_size_of_channels(
    algorithm: int, dtype: torch.dtype, channels: tuple[int, int]
) -> None:
    """On both sides of every tile, and of the 16 bytes that rows are copied in."""
    check(algorithm, make_map("cube"), *channels, dtype, ends=True)


@every_algorithm
@pytest.mark.parametrize("name", MAPS)
def test_every_kind_of_map(algorithm: int, name: str) -> None:
    check(algorithm, make_map(name), 20, 12, torch.bfloat16, ends=False)


@every_algorithm
def test_float32_is_rounded_to_eleven_bits(algorithm: int) -> None:
    """Each factor is off by 2**-11 of itself at most, and sums are float32."""
    kmap = make_map("cube")
    feats = scenes.randn(kmap.num_in, 24, seed=1, dtype=torch.float32)
    weight = scenes.randn(27, 24, 8, seed=2, dtype=torch.float32)
    out = convolve(algorithm, feats, weight, kmap)
    expected = ops.sparse_conv(feats.double(), weight.double(), kmap)
    allowed = 2.001 * 2.0**-11 * ops.sparse_conv(feats.double().abs(), weight.double().abs(), kmap)
    assert ((out - expected).abs() <= allowed).all()
    assert not torch.equal(out, expected.float())


@every_algorithm
@every_dtype
def test_same_bits_whatever_the_order_of_threads(
    algorithm: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for order in ("ascending", "descending"):
        monkeypatch.setenv("POINTSEG_EMULATED_ORDER", order)
        # A map of its own: the order of its rows is made under the same setting.
        grid = VoxelGrid(scenes.random_voxels(90, 5, num_scenes=2, seed=3), num_scenes=2)
        kmap = grid.kernel_map(KernelSpec(5))
        feats = scenes.randn(kmap.num_in, 12, seed=1, dtype=torch.float32).to(dtype)
        weight = scenes.randn(125, 12, 20, seed=2, dtype=torch.float32).to(dtype)
        results.append(convolve(algorithm, feats, weight, kmap))
    assert torch.equal(*results)


@every_algorithm
def test_rows_without_neighbours_are_the_bias(algorithm: int) -> None:
    none = torch.zeros(0, dtype=torch.int32)
    empty = KernelMap(KernelSpec(3), 4, 67, none, none, torch.zeros(1, 27, 2, dtype=torch.int64))
    bias = torch.arange(5.0)
    feats, weight = torch.ones(4, 3).half(), torch.ones(27, 3, 5).half()
    assert torch.equal(convolve(algorithm, feats, weight, empty), torch.zeros(67, 5).half())
    out = convolve(algorithm, feats, weight, empty, bias.half())
    assert torch.equal(out, bias.half().expand(67, 5))


@every_algorithm
@pytest.mark.parametrize("sizes", [(0, 3, 4), (9, 0, 4), (9, 3, 0)], ids=str)
def test_nothing_in_gives_zeros(algorithm: int, sizes: tuple[int, int, int]) -> None:
    num_voxels, c_in, c_out = sizes
    kmap = VoxelGrid(scenes.random_voxels(9, 3)[:num_voxels]).kernel_map(KernelSpec(3))
    out = convolve(algorithm, torch.ones(num_voxels, c_in), torch.ones(27, c_in, c_out), kmap)
    assert out.shape == (num_voxels, c_out)
    assert c_in != 0 or not out.any()


@every_algorithm
def test_nan_stays_with_its_neighbours(algorithm: int) -> None:
    kmap = make_map("cube")
    feats = randn(kmap.num_in, 8, seed=1, dtype=torch.bfloat16)
    feats[5, 2] = float("nan")
    out = convolve(algorithm, feats, randn(27, 8, 8, seed=2, dtype=torch.bfloat16), kmap)
    touched = (kmap.neighbors() == 5).any(1)
    assert 0 < touched.sum() < kmap.num_out
    assert torch.equal(out.isnan().any(1), touched)
    relu = convolve(algorithm, feats, torch.ones(27, 8, 8).bfloat16(), kmap, relu=True)
    assert torch.equal(relu.isnan().any(1), touched)


@every_algorithm
@every_dtype
def test_views_that_are_not_aligned(algorithm: int, dtype: torch.dtype) -> None:
    """Rows of 16 bytes that do not begin at a multiple of 16."""
    kmap = make_map("cube")

    def shifted(x: Tensor) -> Tensor:
        view = torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)
        assert view.is_contiguous()
        assert view.data_ptr() % 16 != 0
        return view

    feats = randn(kmap.num_in, 8, seed=1, dtype=dtype)
    weight = randn(27, 8, 16, seed=2, dtype=dtype)
    residual = randn(kmap.num_out, 16, seed=3, dtype=dtype)
    bias = randn(16, seed=4, dtype=dtype)
    out = convolve(algorithm, feats, weight, kmap, bias, residual)
    views = shifted(feats), shifted(weight), kmap, shifted(bias), shifted(residual)
    assert torch.equal(convolve(algorithm, *views), out)


@every_algorithm
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_of_any_strides_are_rounded_to_the_features(
    algorithm: int, dtype: torch.dtype
) -> None:
    kmap = make_map("cube")
    feats = randn(kmap.num_in, 40, seed=1, dtype=dtype)
    weight = scenes.randn(27, 36, 40, seed=2, dtype=torch.float32).transpose(1, 2)
    bias = scenes.randn(36, seed=3, dtype=torch.float32)
    out = convolve(algorithm, feats, weight, kmap, bias)
    assert torch.equal(out, convolve(algorithm, feats, weight.to(dtype).contiguous(), kmap, bias))
    expected = ops.sparse_conv(feats.double(), weight.to(dtype).double(), kmap, bias.double())
    scenes.assert_close(out, expected, scenes.TOLERANCE[dtype])


@every_algorithm
@pytest.mark.parametrize("name", ["cube", "strided", "up"])
def test_gradients_take_the_algorithm_of_their_map(
    algorithm: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice is made forward; one made since must not meet arrays of another."""
    monkeypatch.setattr(
        conv_choice,
        "choose",
        lambda dtype, num_taps, c_in, c_out, direction="forward": (
            algorithm if direction == "forward" else conv_choice.BY_TAP
        ),
    )
    kmap = make_map(name)
    feats = randn(kmap.num_in, 12, seed=1, dtype=torch.bfloat16).requires_grad_()
    weight = randn(kmap.num_taps, 12, 20, seed=2, dtype=torch.bfloat16).requires_grad_()
    out = ops.sparse_conv(feats, weight, kmap)
    grad_out = randn(*out.shape, seed=3, dtype=torch.bfloat16)
    monkeypatch.setattr(conv_choice, "choose", lambda *args: conv_choice.BY_TAP)
    actual = [out, *torch.autograd.grad(out, [feats, weight], grad_out)]
    for ours, wanted in zip(actual, in_double(feats, weight, kmap, grad_out), strict=True):
        scenes.assert_close(ours, wanted, scenes.TOLERANCE[torch.bfloat16])


def test_what_does_not_fit_together_is_named() -> None:
    kmap = make_map("cube")
    feats, weight = torch.zeros(kmap.num_in, 8), torch.zeros(27, 8, 8)
    arrays = map_arrays(kmap, 2)

    def call(feats: Tensor, arrays: list[Tensor], algorithm: int) -> None:
        torch.ops.pointseg.sparse_conv_fused(
            feats, weight.to(feats.dtype), None, None, False, arrays, kmap.num_out, algorithm
        )

    with pytest.raises(RuntimeError, match="algorithm: expected 0 to 3, got 4"):
        call(feats, arrays, 4)
    with pytest.raises(RuntimeError, match="map: expected 8 tensors for algorithm 2, got 7"):
        call(feats, arrays[:7], 2)
    with pytest.raises(RuntimeError, match=r"order: expected \[3, .*got \[2, "):
        call(feats, arrays, 3)
    with pytest.raises(RuntimeError, match="feats: tensor cores have no products of Double"):
        call(feats.double(), arrays, 2)


@pytest.mark.parametrize("num_splits", [1, 2, 3])
@pytest.mark.parametrize("name", MAPS)
def test_mask_order(name: str, num_splits: int) -> None:
    kmap = make_map(name)
    whole = kmap.num_taps == kmap.spec.num_taps
    taps = kmap.spec.nearest_first if whole else range(kmap.num_taps)
    expected = mask_order_reference(kmap.row_lists(), taps, num_splits)
    order = kmap.mask_order(num_splits)
    assert torch.equal(order, expected)
    assert kmap.mask_order(num_splits) is order
    rows = torch.arange(kmap.num_out, dtype=torch.int32).expand(num_splits, -1)
    assert torch.equal(order.sort(1).values, rows)


def test_mask_order_brings_rows_of_one_mask_together() -> None:
    """A voxel of the finer grid has one tap of 2 x 2 x 2: a tile of sorted rows has few."""
    order = make_map("up").mask_order(1)[0].long()
    taps = make_map("up").row_lists().taps
    assert (taps[order].diff() != 0).sum() == 7
    assert (taps.diff() != 0).sum() > 7


def test_mask_order_has_no_gradient_and_traces() -> None:
    lists = make_map("cube").row_lists()
    taps = list(make_map("cube").spec.nearest_first)
    torch.library.opcheck(torch.ops.pointseg.mask_order.default, (*lists, taps, 2))
    with pytest.raises(RuntimeError, match="num_splits: expected a count, got 0"):
        ops.mask_order(make_map("cube").row_lists(), taps, 0)
    with pytest.raises(RuntimeError, match="nearest_first: expected taps below 2, got 5"):
        ops.mask_order(make_map("cube").row_lists(), [0, 5], 1)
