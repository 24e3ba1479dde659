"""Modules over SparseTensor: shapes, values against plain torch, state dicts, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn as torch_nn

from pointseg import _native, nn, ops
from pointseg.sparse import KernelSpec, SparseTensor

from .grids import random_tensor


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_equals_its_op(stride: int) -> None:
    x = random_tensor(60, 3)
    conv = nn.SparseConv(3, 5, size=3, stride=stride, bias=True)
    y = conv(x)
    expected = ops.sparse_conv(x.feats, conv.weight, x.grid.kernel_map(conv.spec), conv.bias)
    assert y.grid is (x.grid if stride == 1 else x.grid.downsample(2))
    assert y.feats.shape == (y.grid.num_voxels, 5)
    assert torch.equal(y.feats, expected)


@pytest.mark.parametrize("bias", [False, True])
def test_pointwise_conv_is_a_matrix_product_without_kernel_map(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = random_tensor(50, 4, dtype=torch.float64)
    conv = nn.SparseConv(4, 6, size=1, bias=bias).double()
    expected = ops.sparse_conv(x.feats, conv.weight, x.grid.kernel_map(conv.spec), conv.bias)
    monkeypatch.setattr(type(x.grid), "kernel_map", None)
    y = conv(x)
    assert y.grid is x.grid
    torch.testing.assert_close(y.feats, expected)
    assert conv.geometry(4) == ()


def test_transposed_conv_lands_on_the_named_grid() -> None:
    x = random_tensor(60, 3)
    coarse = nn.SparseConv(3, 4, size=2, stride=2)(x)
    up = nn.SparseConvTranspose(4, 5)
    y = up(coarse, x.grid)
    kmap = x.grid.kernel_map(up.spec)
    assert y.grid is x.grid
    assert torch.equal(y.feats, ops.sparse_conv_transpose(coarse.feats, up.weight, kmap))


def test_transposed_conv_refuses_a_grid_of_another_scene() -> None:
    x, other = random_tensor(60, 3), random_tensor(60, 3, seed=5)
    coarse = nn.SparseConv(3, 4, size=2, stride=2)(x)
    with pytest.raises(ValueError, match="grid must be the finer grid"):
        nn.SparseConvTranspose(4, 5)(coarse, other.grid)


def test_transposed_conv_accepts_an_equal_grid_that_is_another_object() -> None:
    x, twin = random_tensor(60, 3), random_tensor(60, 3)
    coarse = nn.SparseConv(3, 4, size=2, stride=2)(x)
    up = nn.SparseConvTranspose(4, 5)
    assert torch.equal(up(coarse, twin.grid).feats, up(coarse, x.grid).feats)


def test_bad_channel_counts_and_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="in_channels"):
        nn.SparseConv(0, 4)
    with pytest.raises(ValueError, match="out_channels"):
        nn.SparseConvTranspose(4, -1)
    with pytest.raises(ValueError, match="stride"):
        nn.SparseConvTranspose(4, 4, stride=1)


def test_initial_weights_follow_the_published_recipe() -> None:
    torch.manual_seed(0)
    conv = nn.SparseConv(64, 48, size=3, bias=True)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (27 * 48)), rel=0.02)
    assert abs(conv.weight.mean().item()) < 1e-3
    bound = 1 / math.sqrt(27 * 64)
    assert conv.bias is not None
    assert conv.bias.abs().max().item() <= bound
    up = nn.SparseConvTranspose(64, 48)
    bound = 1 / math.sqrt(8 * 48)
    assert 0.99 * bound < up.weight.abs().max().item() <= bound


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_that_of_torch(training: bool) -> None:
    x = random_tensor(40, 6)
    ours = nn.BatchNorm(6, momentum=0.02).train(training)
    theirs = torch_nn.BatchNorm1d(6, momentum=0.02).train(training)
    for _ in range(2):
        torch.testing.assert_close(ours(x).feats, theirs(x.feats), rtol=1e-5, atol=1e-6)
    state = ours.state_dict()
    assert len(state) == len(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(state[f"bn.{name}"], value, rtol=1e-6, atol=1e-7)


def test_batch_norm_adds_a_residual_and_clips_at_zero() -> None:
    x, residual = random_tensor(40, 6), random_tensor(40, 6)
    norm = nn.BatchNorm(6).eval()
    plain = norm(x).feats
    assert torch.equal(norm(x, residual).feats, plain + residual.feats)
    assert torch.equal(norm(x, relu=True).feats, plain.relu())
    assert torch.equal(norm(x, residual, relu=True).feats, (plain + residual.feats).relu())


def test_what_replaces_the_batch_norm_is_called() -> None:
    """As `nn.SyncBatchNorm` is, which has no kernel for the CPU."""

    class Doubled(torch_nn.Module):
        def forward(self, feats: torch.Tensor) -> torch.Tensor:
            return 2 * feats

    x, residual = random_tensor(40, 6), random_tensor(40, 6)
    norm = nn.BatchNorm(6)
    norm.bn = Doubled()
    expected = (2 * x.feats + residual.feats).relu()
    assert torch.equal(norm(x, residual, relu=True).feats, expected)


@pytest.mark.parametrize("kernels", [True, False])
def test_batch_norm_is_ours_where_the_device_has_kernels(
    kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it is torch's; tensors without data stand for those of another device."""
    calls = []

    def batch_norm(feats: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        calls.append(feats)
        return feats

    monkeypatch.setattr(_native, "uses_cuda_kernels", lambda device: kernels)
    monkeypatch.setattr(ops, "batch_norm", batch_norm)
    feats = torch.zeros(5, 6, device="meta")
    assert nn.batch_norm_rows(torch_nn.BatchNorm1d(6, device="meta"), feats).shape == (5, 6)
    assert bool(calls) == kernels


def test_one_voxel_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="more than 1 row"):
        nn.BatchNorm(6)(random_tensor(1, 6))
    norm = nn.BatchNorm(6).eval()
    assert norm(random_tensor(1, 6)).feats.shape == (1, 6)


def test_batch_norm_converts_to_sync_batch_norm() -> None:
    model = torch_nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm(4)))
    assert isinstance(model[0].bn, torch_nn.SyncBatchNorm)


def test_batch_norm_refuses_bad_momentum() -> None:
    with pytest.raises(ValueError, match="momentum"):
        nn.BatchNorm(4, momentum=0.0)


def test_pointwise_modules() -> None:
    x = random_tensor(30, 4)
    assert torch.equal(nn.ReLU()(x).feats, x.feats.clamp(min=0))
    assert torch.equal(nn.Pointwise(torch_nn.Tanh())(x).feats, torch.tanh(x.feats))
    linear = nn.Linear(4, 7)
    assert torch.equal(linear(x).feats, linear.linear(x.feats))
    copy = x.replace(x.feats.clone())
    assert nn.ReLU(inplace=True)(copy).feats is copy.feats


@pytest.mark.parametrize("reduce", ["max", "avg", "sum"])
def test_pools(reduce: str) -> None:
    x = random_tensor(60, 4, num_scenes=3)
    pool = nn.Pool(size=2, stride=2, reduce=reduce)
    y = pool(x)
    assert y.grid is x.grid.downsample(2)
    assert torch.equal(y.feats, ops.pool(x.feats, x.grid.kernel_map(pool.spec), reduce))
    assert nn.GlobalPool(reduce)(x).shape == (3, 4)
    with pytest.raises(ValueError, match="reduce"):
        nn.Pool(reduce="median")


def test_geometry_is_collected_in_forward_order_and_once() -> None:
    cube, down = KernelSpec(3), KernelSpec(2, stride=2)
    model = nn.Sequential(
        nn.ConvNormReLU(3, 4),
        nn.BasicBlock(4, 4),
        nn.SparseConv(4, 4, size=2, stride=2),
        nn.ReLU(),
        nn.Bottleneck(4, 2),
        nn.SparseConv(8, 4, size=1),
        nn.Pool(),
    )
    assert model.geometry() == ((1, cube), (1, down), (2, cube), (2, down))
    assert model.out_stride(1) == 4
    up = nn.SparseConvTranspose(4, 4)
    assert up.geometry(4) == ((2, down),)
    assert up.out_stride(4) == 2
    with pytest.raises(ValueError, match="whole number"):
        up.geometry(3)


def test_geometry_refuses_modules_that_cannot_declare_it() -> None:
    with pytest.raises(TypeError, match="Pointwise"):
        nn.Sequential(torch_nn.ReLU()).geometry()


@pytest.mark.parametrize("in_channels", [4, 8])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_blocks_are_branch_plus_shortcut(kind: str, in_channels: int) -> None:
    width = 4 if kind == "basic" else 2
    block = nn.BLOCKS[kind](in_channels, width)
    x = random_tensor(50, in_channels)
    before = x.feats.clone()
    shortcut = x if block.shortcut is None else block.shortcut(x)
    assert (block.shortcut is None) == (in_channels == block.out_channels)
    out = x
    last = 2 if kind == "basic" else 3
    for layer in range(1, last + 1):
        out = getattr(block, f"norm{layer}")(getattr(block, f"conv{layer}")(out))
        if layer < last:
            out = nn.ReLU()(out)
    expected = torch.relu(out.feats + shortcut.feats)
    y = block(x)
    assert torch.equal(y.feats, expected)
    assert torch.equal(x.feats, before)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_block_gradients(kind: str) -> None:
    torch.manual_seed(0)
    block = nn.BLOCKS[kind](3, 2).double()
    x = random_tensor(12, 3, extent=2, num_scenes=1, dtype=torch.float64)
    feats = x.feats.requires_grad_()
    names, parameters = zip(*block.named_parameters(), strict=True)

    def run(feats: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        called = torch.func.functional_call(
            block, dict(zip(names, values, strict=True)), (SparseTensor(feats, x.grid),)
        )
        return called.feats

    # Random projections of the Jacobian: the full one is checked op by op.
    assert torch.autograd.gradcheck(run, (feats, *parameters), fast_mode=True)
