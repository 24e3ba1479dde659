"""Modules that work on the feature rows alone and leave the grid as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointseg import _native, ops
from pointseg.nn.base import SparseModule
from pointseg.nn.sync_batch_norm import SyncBatchNorm1d
from pointseg.recompute import is_second_pass
from pointseg.sparse import SparseTensor


class Pointwise(SparseModule):
    """Applies a plain torch module to the features ``[N, C]``.

    ``Pointwise(nn.GELU())`` or ``Pointwise(nn.Dropout(0.1))``. The module must keep the rows.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.replace(self.module(x.feats))


class ReLU(SparseModule):
    """``max(x, 0)``; `inplace` overwrites the incoming features."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.replace(torch.relu_(x.feats) if self.inplace else torch.relu(x.feats))

    def extra_repr(self) -> str:
        return f"inplace={self.inplace}"


class Linear(SparseModule):
    """`nn.Linear` on every voxel: ``[N, C_in] -> [N, C_out]``."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=bias)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.replace(self.linear(x.feats))


class BatchNorm(SparseModule):
    """Batch norm over the voxels of all scenes: `nn.BatchNorm1d` on ``[N, C]``.

    It holds the torch module as ``bn``, so that state dicts carry torch's own names and
    `synchronized` and `nn.SyncBatchNorm.convert_sync_batchnorm` find it.

    Raises ValueError in training where there is a single voxel: one value has no variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        if not 0.0 < momentum <= 1.0:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}")
        self.bn = nn.BatchNorm1d(channels, eps=eps, momentum=momentum)

    def forward(
        self, x: SparseTensor, residual: SparseTensor | None = None, relu: bool = False
    ) -> SparseTensor:
        """The norm of `x`, plus `residual` [N, C] on the same voxels, through a ReLU if `relu`."""
        add = None if residual is None else residual.feats
        return x.replace(batch_norm_rows(self.bn, x.feats, add, relu))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift [C], float64, that evaluation amounts to: ``x * scale + shift``."""
        return batch_norm_affine(self.bn)


def batch_norm_affine(bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift [C], float64, that an `nn.BatchNorm1d` amounts to in evaluation."""
    mean, var, weight, bias = (
        getattr(bn, name).detach().double()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    scale = weight * (var + bn.eps).rsqrt()
    return scale, bias - mean * scale


def batch_norm_rows(
    bn: nn.Module, feats: Tensor, residual: Tensor | None = None, relu: bool = False
) -> Tensor:
    """``relu(bn(feats) + residual)`` [N, C], in one pass where there is a kernel for it.

    bn: an `nn.BatchNorm1d` or a `SyncBatchNorm1d`, with affine parameters, momentum and running
    statistics, or what has been put in its place, which is called.
    """
    if residual is not None:
        residual = residual.to(feats.dtype)  # under autocast the branch is narrower
    has_kernel = feats.device.type == "cpu" or _native.uses_cuda_kernels(feats.device)
    if isinstance(bn, SyncBatchNorm1d) and bn.training:
        return bn.normalize(feats, residual, relu)
    if type(bn) not in (nn.BatchNorm1d, SyncBatchNorm1d) or not has_kernel:
        # In place: a norm keeps its input for the backward pass, not its output.
        out: Tensor = _on_copies(bn, feats) if is_second_pass() else bn(feats)
        out = out if residual is None else out.add_(residual)
        return torch.relu_(out) if relu else out
    assert isinstance(bn, nn.BatchNorm1d)
    assert bn.momentum is not None and bn.num_batches_tracked is not None
    out = ops.batch_norm(
        feats,
        bn.weight,
        bn.bias,
        bn.running_mean,
        bn.running_var,
        residual=residual,
        relu=relu,
        training=bn.training,
        momentum=bn.momentum,
        eps=bn.eps,
    )
    if bn.training and not is_second_pass():
        bn.num_batches_tracked.add_(1)
    return out


def _on_copies(bn: nn.Module, feats: Tensor) -> Tensor:
    """``bn(feats)``, which leaves the running statistics as they are."""
    buffers = {name: buffer.clone() for name, buffer in bn.named_buffers()}
    out: Tensor = torch.func.functional_call(bn, buffers, (feats,))
    return out
