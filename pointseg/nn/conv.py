"""Sparse convolutions as modules.

Weights are ``[K, C_in, C_out]`` with the taps in `KernelSpec` order. Initial values follow the
published recipe of MinkUNet: a normal distribution with standard deviation
``sqrt(2 / (K * C_out))`` (He et al. 2015, fan out) for convolutions, and the uniform distribution
on ``+-1 / sqrt(K * C_out)`` for transposed convolutions, where batch norm follows at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pointseg import ops
from pointseg.nn.base import SparseModule
from pointseg.nn.pointwise import BatchNorm
from pointseg.nn.reach import Reach
from pointseg.sparse import (
    GeometryPlan,
    KernelMap,
    KernelSpec,
    Region,
    SparseTensor,
    VoxelGrid,
)


def _check_channels(in_channels: int, out_channels: int) -> None:
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")


class _SparseConvBase(SparseModule):
    """Parameters that both directions share."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        spec: KernelSpec,
        bias: bool,
        num_taps: int | None = None,
    ) -> None:
        super().__init__()
        _check_channels(in_channels, out_channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.spec = spec
        num_taps = spec.num_taps if num_taps is None else num_taps
        self.weight = nn.Parameter(torch.empty(num_taps, in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def fold(self, norm: BatchNorm | None) -> None:
        """Take the batch norm that follows into weight and bias; None: that was done before."""
        if norm is None:
            return
        scale, shift = norm.affine()
        bias = shift if self.bias is None else shift + scale * self.bias
        self.weight.copy_(self.weight * scale)
        self.bias = nn.Parameter(bias.to(self.weight.dtype), requires_grad=False)

    def _infer(
        self, feats: Tensor, kmap: KernelMap | None, residual: SparseTensor | None, relu: bool
    ) -> Tensor:
        """relu(convolution + bias + residual); without a map a matrix product."""
        if self.training:
            raise RuntimeError(
                "a model folded by pointseg.nn.folded cannot be trained, its batch norms are gone; "
                "train the model it was made of, or call eval()"
            )
        assert self.bias is not None, "infer is for convolutions that fold() has been called on"
        add = None if residual is None else residual.feats
        if kmap is not None:
            return ops.sparse_conv_fused(feats, self.weight, kmap, self.bias, add, relu)
        out = torch.addmm(self.bias, feats, self.weight[0])
        out = out if add is None else out.add_(add)
        return torch.relu_(out) if relu else out

    def _reset_bias(self, fan: int) -> None:
        if self.bias is not None:
            bound = 1.0 / math.sqrt(fan)
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        spec = self.spec
        text = f"{self.in_channels}, {self.out_channels}, size={spec.size}, stride={spec.stride}"
        if spec.dilation != 1:
            text += f", dilation={spec.dilation}"
        if spec.shape != "cube":
            text += f", shape={spec.shape!r}"
        return text + f", bias={self.bias is not None}"


class SparseConv(_SparseConvBase):
    """Convolution ``[N_in, C_in] -> [N_out, C_out]``.

    With stride 1 the output lives on the input's grid (submanifold convolution), with stride s on
    the grid downsampled by s. A kernel of size 1 with stride 1 is a matrix product and asks for no
    kernel map.

    Raises ValueError for channel counts below 1 or a kernel that `KernelSpec` refuses.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        shape: str = "cube",
        bias: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, KernelSpec(size, stride, dilation, shape), bias)

    @property
    def is_pointwise(self) -> bool:
        """True where the convolution is a plain matrix product."""
        return self.spec.size == 1 and self.spec.stride == 1

    def reset_parameters(self) -> None:
        std = math.sqrt(2.0 / (self.spec.num_taps * self.out_channels))
        nn.init.normal_(self.weight, 0.0, std)
        self._reset_bias(self.spec.num_taps * self.in_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        if self.is_pointwise:
            return x.replace(self._pointwise(x.feats))
        spec = self.spec
        kmap = x.grid.kernel_map(spec)
        feats = ops.sparse_conv(x.feats, self.weight, kmap, self.bias)
        return SparseTensor(feats, x.grid if spec.stride == 1 else x.grid.downsample(spec.stride))

    def infer(
        self, x: SparseTensor, residual: SparseTensor | None = None, relu: bool = False
    ) -> SparseTensor:
        """``relu(forward(x) + residual)`` of a folded convolution, without gradients.

        residual: [N_out, C_out] on the voxels of the result. RuntimeError in training mode.
        """
        if self.is_pointwise:
            return x.replace(self._infer(x.feats, None, residual, relu))
        kmap, stride = x.grid.kernel_map(self.spec), self.spec.stride
        feats = self._infer(x.feats, kmap, residual, relu)
        return SparseTensor(feats, x.grid if stride == 1 else x.grid.downsample(stride))

    def _pointwise(self, feats: Tensor) -> Tensor:
        if self.bias is None:
            return feats @ self.weight[0]
        return torch.addmm(self.bias, feats, self.weight[0])

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return () if self.is_pointwise else ((stride, self.spec),)

    def out_stride(self, stride: int) -> int:
        return stride * self.spec.stride

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return of_input.conv(self.spec, stride)


class RegionConv(_SparseConvBase):
    """Submanifold convolution over the taps of a region; taps outside it have no weights."""

    def __init__(
        self, in_channels: int, out_channels: int, region: Region, bias: bool = False
    ) -> None:
        self.region = region
        super().__init__(in_channels, out_channels, region.spec, bias, region.num_taps)

    def reset_parameters(self) -> None:
        taps = self.region.num_taps
        nn.init.normal_(self.weight, 0.0, math.sqrt(2.0 / (taps * self.out_channels)))
        self._reset_bias(taps * self.in_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        kmap = x.grid.kernel_map(self.region)
        return x.replace(ops.sparse_conv(x.feats, self.weight, kmap, self.bias))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return ((stride, self.region),)

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return of_input.conv(self.region, stride)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, taps={self.region.num_taps}"


class SparseConvTranspose(_SparseConvBase):
    """Transposed convolution from a coarse grid to a finer one that the caller names.

    ``forward(x, grid)``: `grid` is the finer grid, for example that of a skip connection, and
    ``x.grid`` must be ``grid.downsample(stride)``. The kernel map is that of the strided
    convolution fine -> coarse with in and out swapped.

    Raises ValueError for a stride below 2 (use `SparseConv`) and, in forward, for a grid that does
    not belong to `x`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int = 2,
        stride: int = 2,
        dilation: int = 1,
        shape: str = "cube",
        bias: bool = False,
    ) -> None:
        if stride < 2:
            raise ValueError(
                f"stride of a transposed convolution must be 2 or more, got {stride}; "
                "use SparseConv for stride 1"
            )
        super().__init__(in_channels, out_channels, KernelSpec(size, stride, dilation, shape), bias)

    def reset_parameters(self) -> None:
        bound = 1.0 / math.sqrt(self.spec.num_taps * self.out_channels)
        nn.init.uniform_(self.weight, -bound, bound)
        self._reset_bias(self.spec.num_taps * self.out_channels)

    def forward(self, x: SparseTensor, grid: VoxelGrid) -> SparseTensor:
        _check_finer(x.grid, grid, self.spec.stride)
        kmap = grid.kernel_map(self.spec)
        return SparseTensor(ops.sparse_conv_transpose(x.feats, self.weight, kmap, self.bias), grid)

    def infer(self, x: SparseTensor, grid: VoxelGrid, relu: bool = False) -> SparseTensor:
        """``relu(forward(x, grid))`` of a folded convolution; see `SparseConv.infer`."""
        _check_finer(x.grid, grid, self.spec.stride)
        kmap = grid.kernel_map(self.spec).transposed()
        return SparseTensor(self._infer(x.feats, kmap, None, relu), grid)

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return ((self.out_stride(stride), self.spec),)

    def out_stride(self, stride: int) -> int:
        if stride % self.spec.stride:
            raise ValueError(
                f"a transposed convolution of stride {self.spec.stride} cannot start from "
                f"relative stride {stride}: the finer stride would not be a whole number"
            )
        return stride // self.spec.stride

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return of_input.transposed_conv(self.spec, self.out_stride(stride))


def _check_finer(coarse: VoxelGrid, fine: VoxelGrid, factor: int) -> None:
    # Grids of one batch come out of one memo, so identity settles nearly every call; comparing
    # coordinates would cost a synchronisation on a GPU.
    expected = fine.downsample(factor)
    if expected is coarse:
        return
    if expected.stride == coarse.stride and torch.equal(expected.coords, coarse.coords):
        return
    raise ValueError(
        f"grid must be the finer grid that x came from: downsampled by {factor} it has "
        f"{expected.num_voxels} voxels of stride {expected.stride}, while x has "
        f"{coarse.num_voxels} voxels of stride {coarse.stride}"
    )
