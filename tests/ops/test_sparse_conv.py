"""Sparse convolution against dense `conv3d`, and every other clause of its contract."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointseg import ops
from pointseg.ops.sparse_conv import map_arrays, sparse_conv_fused_reference
from pointseg.sparse import KernelMap, KernelSpec, VoxelGrid
from tests.helpers.properties import given, st
from tests.ops import oracle, scenes
from tests.ops.large import in_double, map_of_far_rows, near_rows, untouched_zeros

SETTINGS = st.sampled_from([1, 2])


@given(
    coords=scenes.voxel_sets(),
    spec=scenes.kernel_specs(),
    in_stride=SETTINGS,
    channels=st.sampled_from([(1, 1), (2, 3), (5, 2)]),
    with_bias=st.booleans(),
)
def test_matches_dense_convolution_and_its_gradients(
    coords: Tensor, spec: KernelSpec, in_stride: int, channels: tuple[int, int], with_bias: bool
) -> None:
    coords[:, 1:] *= in_stride
    grid = VoxelGrid(coords, stride=in_stride)
    out_coords = grid.downsample(spec.stride).coords
    feats = scenes.randn(len(coords), channels[0], seed=1).requires_grad_()
    weight = scenes.randn(spec.num_taps, *channels, seed=2).requires_grad_()
    bias = scenes.randn(channels[1], seed=3).requires_grad_() if with_bias else None
    leaves = [feats, weight] if bias is None else [feats, weight, bias]

    out = ops.sparse_conv(feats, weight, grid.kernel_map(spec), bias)
    settings = (in_stride, spec.size, spec.stride, spec.dilation, spec.shape)
    expected = oracle.conv(feats, weight, coords, out_coords, *settings)
    expected = expected if bias is None else expected + bias
    scenes.assert_close(out, expected, 1e-12)

    if len(coords) == 0:
        return
    grad_out = scenes.randn(*out.shape, seed=4)
    ours = torch.autograd.grad(out, leaves, grad_out)
    theirs = torch.autograd.grad(expected, leaves, grad_out)
    for actual, wanted in zip(ours, theirs, strict=True):
        scenes.assert_close(actual, wanted, 1e-12)


def first_taps(kmap: KernelMap, num_taps: int) -> KernelMap:
    """The map without its later taps: any number of taps, whatever the kernel sizes."""
    segments = kmap.segments[:, :num_taps].contiguous()
    return KernelMap(kmap.spec, kmap.num_in, kmap.num_out, kmap.in_rows, kmap.out_rows, segments)


@pytest.mark.parametrize("num_taps", [1, 8, 26, 27, 31, 32, 33, 63, 64, 65, 81, 124, 125])
def test_no_tap_is_skipped_whatever_their_number(num_taps: int) -> None:
    coords = scenes.random_voxels(150, 7, num_scenes=2, seed=8)
    grid = VoxelGrid(coords)
    spec = KernelSpec(5, 2)
    kmap = first_taps(grid.kernel_map(spec), num_taps)
    feats = scenes.randn(len(coords), 3, seed=1).requires_grad_()
    weight = scenes.randn(num_taps, 3, 4, seed=2).requires_grad_()
    out = ops.sparse_conv(feats, weight, kmap)
    padded = torch.cat([weight, torch.zeros(125 - num_taps, 3, 4, dtype=torch.float64)])
    expected = oracle.conv(feats, padded, coords, grid.downsample(2).coords, 1, 5, 2)
    scenes.assert_close(out, expected, 1e-12)
    grad_out = scenes.randn(*out.shape, seed=4)
    ours = torch.autograd.grad(out, [feats, weight], grad_out)
    theirs = torch.autograd.grad(expected, [feats, weight], grad_out)
    for actual, wanted in zip(ours, theirs, strict=True):
        scenes.assert_close(actual, wanted, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("c_in", [3, 33])
@pytest.mark.parametrize(
    "c_out", [1, 2, 4, 7, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 128, 130]
)
def test_every_remainder_of_the_tiles(c_in: int, c_out: int, dtype: torch.dtype) -> None:
    """Channels on both sides of every register width, and segments of every length."""
    coords = scenes.random_voxels(60, 5, seed=c_in)
    grid = VoxelGrid(coords)
    kmap = grid.kernel_map(KernelSpec(3))
    feats = scenes.randn(len(coords), c_in, seed=1, dtype=dtype)
    weight = scenes.randn(27, c_in, c_out, seed=2, dtype=dtype)
    leaves = [feats.requires_grad_(), weight.requires_grad_()]
    out = ops.sparse_conv(*leaves, kmap)
    grad_out = scenes.randn(*out.shape, seed=3, dtype=dtype)
    actual = [out, *torch.autograd.grad(out, leaves, grad_out)]
    expected = in_double(feats, weight, kmap, grad_out)
    for ours, wanted in zip(actual, expected, strict=True):
        scenes.assert_close(ours, wanted, scenes.TOLERANCE[dtype])


@given(coords=scenes.voxel_sets(min_voxels=1), spec=scenes.kernel_specs())
def test_adjoint(coords: Tensor, spec: KernelSpec) -> None:
    """<Y, A X> = <A^T Y, X> and the same for the weights, exactly as linear maps demand."""
    kmap = VoxelGrid(coords).kernel_map(spec)
    feats = scenes.randn(kmap.num_in, 3, seed=1).requires_grad_()
    weight = scenes.randn(spec.num_taps, 3, 4, seed=2).requires_grad_()
    out = ops.sparse_conv(feats, weight, kmap)
    grad_out = scenes.randn(*out.shape, seed=3)
    grad_feats, grad_weight = torch.autograd.grad(out, [feats, weight], grad_out)
    inner = (grad_out * out).sum()
    scenes.assert_close((grad_feats * feats).sum(), inner, 1e-10)
    scenes.assert_close((grad_weight * weight).sum(), inner, 1e-10)


@pytest.mark.parametrize("spec", [KernelSpec(3), KernelSpec(2), KernelSpec(3, 2)], ids=str)
def test_equivariant_to_the_order_of_voxels(spec: KernelSpec) -> None:
    coords = scenes.surface_voxels(400, seed=2, num_scenes=2)
    order = torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))
    feats = scenes.randn(len(coords), 3, seed=1)
    weight = scenes.randn(spec.num_taps, 3, 4, seed=2)
    first = ops.sparse_conv(feats, weight, VoxelGrid(coords).kernel_map(spec))
    second = ops.sparse_conv(feats[order], weight, VoxelGrid(coords[order]).kernel_map(spec))
    scenes.assert_close(second, first[order] if spec.stride == 1 else first, 1e-12)


def test_scenes_do_not_touch() -> None:
    """Two scenes in one batch give what each gives alone."""
    coords = scenes.surface_voxels(300, seed=3, num_scenes=2)
    weight = scenes.randn(27, 3, 4, seed=2)
    feats = scenes.randn(len(coords), 3, seed=1)
    spec = KernelSpec(3)
    together = ops.sparse_conv(feats, weight, VoxelGrid(coords).kernel_map(spec))
    for scene in (0, 1):
        rows = coords[:, 0] == scene
        alone = ops.sparse_conv(feats[rows], weight, VoxelGrid(coords[rows]).kernel_map(spec))
        scenes.assert_close(together[rows], alone, 1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_voxels_without_neighbours_are_the_bias(bias: bool) -> None:
    grid = VoxelGrid(scenes.random_voxels(4, 3))
    empty = KernelMap(
        KernelSpec(3),
        4,
        6,
        torch.zeros(0, dtype=torch.int32),
        torch.zeros(0, dtype=torch.int32),
        torch.zeros(1, 27, 2, dtype=torch.int64),
    )
    assert grid.num_voxels == 4
    vector = torch.arange(5.0) if bias else None
    out = ops.sparse_conv(torch.ones(4, 3), torch.ones(27, 3, 5), empty, vector)
    assert torch.equal(out, torch.zeros(6, 5) + (0 if vector is None else vector))


# ---------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_largest_error_over_200k_voxels(dtype: torch.dtype) -> None:
    """No single output or weight may be far off, however many rows a sum runs over."""
    coords = scenes.surface_voxels(200_000, seed=7)
    kmap = VoxelGrid(coords).kernel_map(KernelSpec(3))
    assert kmap.num_out > 180_000
    feats = (scenes.randn(kmap.num_in, 4, seed=1) + 0.5).to(dtype).requires_grad_()
    weight = scenes.randn(27, 4, 6, seed=2).to(dtype).requires_grad_()
    out = ops.sparse_conv(feats, weight, kmap)
    # Gradients of one sign, small enough that the sum over 200k rows fits float16.
    grad_out = (scenes.randn(*out.shape, seed=3).abs() * 0.1).to(dtype)
    actual = [out, *torch.autograd.grad(out, [feats, weight], grad_out)]
    expected = in_double(feats, weight, kmap, grad_out)
    tolerance = max(scenes.TOLERANCE[dtype], 2e-5)
    for ours, wanted in zip(actual, expected, strict=True):
        assert torch.isfinite(ours).all()
        scenes.assert_close(ours, wanted, tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_keeps_the_gradient_of_the_weights_in_float32(dtype: torch.dtype) -> None:
    """Sums over 40k rows of about 4 * 4 leave float16's range; the master weights are float32."""
    coords = scenes.surface_voxels(40_000, seed=7)
    kmap = VoxelGrid(coords).kernel_map(KernelSpec(3))
    feats = torch.full((kmap.num_in, 2), 4.0)
    weight = scenes.randn(27, 2, 3, seed=2, dtype=torch.float32).requires_grad_()
    bias = torch.zeros(3, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        out = ops.sparse_conv(feats, weight, kmap, bias)
    assert out.dtype == dtype
    out.backward(torch.full_like(out, 4.0))
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    pairs = torch.tensor([len(kmap.pairs(tap)[0]) for tap in range(27)])
    wanted = (16.0 * pairs)[:, None, None].expand(27, 2, 3)
    assert wanted.max() > 65_504
    scenes.assert_close(weight.grad, wanted, 1e-5)


@pytest.mark.parametrize("c_out", [1, 8])
def test_addresses_beyond_two_to_the_31(c_out: int) -> None:
    """Rows whose offset in elements does not fit 32 bits; untouched pages cost no memory."""
    kmap, far = map_of_far_rows(rows=70_000_000, num_taps=2)
    feats = untouched_zeros(kmap.num_in, 32)
    assert feats.numel() > 2**31
    feats[far] = scenes.randn(len(far), 32, seed=1, dtype=torch.float32)
    weight = scenes.randn(2, 32, c_out, seed=2, dtype=torch.float32).requires_grad_()
    out = ops.sparse_conv(feats, weight, kmap)
    expected = ops.sparse_conv(feats[far], weight, near_rows(kmap))
    assert torch.equal(out, expected)
    grad_out = scenes.randn(*out.shape, seed=3, dtype=torch.float32)
    (ours,) = torch.autograd.grad(out, weight, grad_out)
    (wanted,) = torch.autograd.grad(expected, weight, grad_out)
    assert torch.equal(ours, wanted)


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"feats": torch.zeros(9, 3)}, "feats"),
        ({"feats": torch.zeros(10)}, "feats"),
        ({"feats": torch.zeros(10, 3, dtype=torch.int32)}, "feats"),
        ({"feats": [[1.0]]}, "feats"),
        ({"weight": torch.zeros(26, 3, 4)}, "weight"),
        ({"weight": torch.zeros(27, 2, 4)}, "weight"),
        ({"weight": torch.zeros(27, 3)}, "weight"),
        ({"weight": torch.zeros(27, 3, 4, dtype=torch.float64)}, "weight"),
        ({"weight": torch.zeros(27, 3, 4, device="meta")}, "weight"),
        ({"bias": torch.zeros(3)}, "bias"),
        ({"bias": torch.zeros(1, 4)}, "bias"),
        ({"bias": torch.zeros(4, dtype=torch.float64)}, "bias"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Tensor], match: str) -> None:
    kmap = VoxelGrid(scenes.random_voxels(10, 4)).kernel_map(KernelSpec(3))
    arguments = {
        "feats": torch.zeros(10, 3),
        "weight": torch.zeros(27, 3, 4),
        "bias": torch.zeros(4),
        **change,
    }
    with pytest.raises((ValueError, TypeError), match=f"^{match}"):
        ops.sparse_conv(kmap=kmap, **arguments)


def test_no_channels_give_no_columns_and_gradients() -> None:
    grid = VoxelGrid(torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.int32))
    feats = torch.zeros(2, 0, requires_grad=True)
    weight = torch.zeros(27, 0, 0, requires_grad=True)
    out = ops.sparse_conv(feats, weight, grid.kernel_map(KernelSpec(3)))
    out.sum().backward()
    assert out.shape == (2, 0)
    assert feats.grad is not None and weight.grad is not None


FUSED_DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def fused_problem(
    dtype: torch.dtype, coords: Tensor
) -> tuple[Tensor, Tensor, KernelMap, Tensor, Tensor]:
    """feats, weight, map, bias and residual of a strided convolution."""
    kmap = VoxelGrid(coords, num_scenes=2).kernel_map(KernelSpec(3, 2))
    shapes = (kmap.num_in, 5), (27, 5, 21), (21,), (kmap.num_out, 21)
    feats, weight, bias, residual = (
        scenes.randn(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)
    )
    return feats, weight, kmap, bias, residual


@pytest.mark.parametrize("dtype", FUSED_DTYPES, ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("with_residual", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_fused_ends_with_sum_and_relu(
    dtype: torch.dtype, with_bias: bool, with_residual: bool, relu: bool
) -> None:
    coords = scenes.random_voxels(400, 9, num_scenes=2, seed=3)
    feats, weight, kmap, bias, residual = fused_problem(dtype, coords)
    bias, residual = bias if with_bias else None, residual if with_residual else None
    out = ops.sparse_conv_fused(feats, weight, kmap, bias, residual, relu)
    arguments = [None if x is None else x.double() for x in (feats, weight, bias, residual)]
    expected = sparse_conv_fused_reference(*arguments[:2], kmap, *arguments[2:], relu)
    assert out.dtype == dtype
    scenes.assert_close(out.double(), expected, {8: 1e-13, 4: 1e-6, 2: 8e-3}[out.element_size()])
    call = (feats, weight, bias, residual, relu, map_arrays(kmap), kmap.num_out, 0)
    torch.library.opcheck(torch.ops.pointseg.sparse_conv_fused.default, call)


def test_fused_keeps_nan_and_needs_no_voxels() -> None:
    coords = scenes.random_voxels(50, 4, num_scenes=2, seed=3)
    feats, weight, kmap, bias, residual = fused_problem(torch.float32, coords)
    residual[0] = float("nan")
    assert ops.sparse_conv_fused(feats, weight, kmap, bias, residual, True)[0].isnan().all()
    feats, weight, kmap, bias, residual = fused_problem(torch.float32, coords[:0])
    assert ops.sparse_conv_fused(feats, weight, kmap, bias, residual, True).shape == (0, 21)


def test_fused_refuses_gradients_and_other_residuals() -> None:
    coords = scenes.random_voxels(50, 4, num_scenes=2, seed=3)
    feats, weight, kmap, bias, residual = fused_problem(torch.float32, coords)
    with pytest.raises(RuntimeError, match="no gradient: use sparse_conv"):
        ops.sparse_conv_fused(feats, weight.requires_grad_(), kmap)
    with torch.no_grad():
        ops.sparse_conv_fused(feats, weight, kmap)
        with pytest.raises(ValueError, match="residual: expected"):
            ops.sparse_conv_fused(feats, weight, kmap, bias, residual[1:])
        with pytest.raises(TypeError, match=r"residual: expected torch.float32"):
            ops.sparse_conv_fused(feats, weight, kmap, bias, residual.double())


def test_gradient_of_weights_in_one_and_in_many_slices() -> None:
    """Many rows of few channels take many buffers, few rows of many channels one for all."""
    for num_voxels, channels in ((40_000, 4), (700, 96)):
        kmap = VoxelGrid(scenes.surface_voxels(num_voxels, seed=2)).kernel_map(KernelSpec(3))
        feats = scenes.randn(kmap.num_in, channels, seed=1)
        grad_out = scenes.randn(kmap.num_out, channels, seed=2)
        grad = torch.ops.pointseg.sparse_conv_weight_grad(feats, grad_out, map_arrays(kmap), 0)
        for tap in range(27):
            in_rows, out_rows = kmap.pairs(tap)
            scenes.assert_close(grad[tap], feats[in_rows].T @ grad_out[out_rows], 1e-12)


@given(coords=scenes.voxel_sets(), spec=scenes.kernel_specs())
def test_a_block_has_the_pairs_of_its_rows(coords: Tensor, spec: KernelSpec) -> None:
    """Whatever the order of rows: kernels write the rows of a block without asking others."""
    many = torch.cat([coords + torch.tensor([0, 40 * shift, 0, 0]) for shift in range(60)]).int()
    kmap = VoxelGrid(many.flip(0)).kernel_map(spec)
    for checked in (kmap, kmap.transposed()):
        for block, groups in enumerate(checked.segments.tolist()):
            for begin, end in groups:
                rows = checked.out_rows[begin:end]
                assert (rows // 2048 == block).all()
                assert rows.unique().numel() == rows.numel()
