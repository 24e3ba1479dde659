"""Modules that work on the feature rows alone and leave the grid as it is."""

from __future__ import annotations

import torch
from torch import nn

from pointseg.nn.base import SparseModule
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
    `nn.SyncBatchNorm.convert_sync_batchnorm` finds it.

    Raises ValueError in training where there is a single voxel: one value has no variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        if not 0.0 < momentum <= 1.0:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}")
        self.bn = nn.BatchNorm1d(channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.replace(self.bn(x.feats))
