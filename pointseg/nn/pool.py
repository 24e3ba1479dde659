"""Pooling modules."""

from __future__ import annotations

from typing import get_args

from torch import Tensor, nn

from pointseg import ops
from pointseg.nn.base import SparseModule
from pointseg.nn.reach import Reach
from pointseg.ops.pool import PoolReduction
from pointseg.sparse import GeometryPlan, KernelSpec, SparseTensor


def _check_reduce(reduce: PoolReduction) -> None:
    reductions = get_args(PoolReduction)
    if reduce not in reductions:
        raise ValueError(f"reduce must be one of {', '.join(reductions)}, got {reduce!r}")


class Pool(SparseModule):
    """Pooling over the taps of a kernel; averages divide by the voxels that are there."""

    def __init__(
        self,
        size: int = 2,
        stride: int = 2,
        dilation: int = 1,
        shape: str = "cube",
        reduce: PoolReduction = "max",
    ) -> None:
        super().__init__()
        _check_reduce(reduce)
        self.spec = KernelSpec(size, stride, dilation, shape)
        self.reduce = reduce

    def forward(self, x: SparseTensor) -> SparseTensor:
        feats = ops.pool(x.feats, x.grid.kernel_map(self.spec), self.reduce)
        stride = self.spec.stride
        return SparseTensor(feats, x.grid if stride == 1 else x.grid.downsample(stride))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return ((stride, self.spec),)

    def out_stride(self, stride: int) -> int:
        return stride * self.spec.stride

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return of_input.conv(self.spec, stride)

    def extra_repr(self) -> str:
        return f"size={self.spec.size}, stride={self.spec.stride}, reduce={self.reduce!r}"


class GlobalPool(nn.Module):
    """One row per scene: `SparseTensor` -> ``[B, C]``. It leaves the grid, so it ends a chain."""

    def __init__(self, reduce: PoolReduction = "avg") -> None:
        super().__init__()
        _check_reduce(reduce)
        self.reduce = reduce

    def forward(self, x: SparseTensor) -> Tensor:
        return ops.global_pool(x.feats, x.grid, self.reduce)

    def extra_repr(self) -> str:
        return f"reduce={self.reduce!r}"
