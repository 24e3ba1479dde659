"""Residual blocks of the MinkUNet family (after He et al. 2016, on sparse voxels).

Features between the layers of a block have no other reader, so activations and residual sums
overwrite them: batch norm keeps its input for the backward pass, not its output.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pointseg.nn.base import SparseModule, chain_geometry
from pointseg.nn.conv import SparseConv
from pointseg.nn.pointwise import BatchNorm
from pointseg.sparse import GeometryPlan, SparseTensor


class ConvNorm(SparseModule):
    """Convolution and batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        shape: str = "cube",
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv = SparseConv(in_channels, out_channels, size, stride, dilation, shape)
        self.norm = BatchNorm(out_channels, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.norm(self.conv(x))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return self.conv.geometry(stride)

    def out_stride(self, stride: int) -> int:
        return self.conv.out_stride(stride)


class ConvNormReLU(ConvNorm):
    """Convolution, batch norm, ReLU."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        return _relu(super().forward(x))


class ResidualBlock(SparseModule):
    """Sum of a branch and of the input (or its 1x1x1 projection), then ReLU.

    Subclasses fill the branch with ``conv1, norm1, conv2, norm2, ...``. Where the channel counts
    differ, ``shortcut`` is a `ConvNorm` of size 1, otherwise None.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = channels * self.expansion
        self.shortcut = (
            ConvNorm(in_channels, self.out_channels, size=1, momentum=momentum)
            if in_channels != self.out_channels
            else None
        )

    def branch(self, x: SparseTensor) -> SparseTensor:
        raise NotImplementedError

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = self.branch(x)
        residual = x if self.shortcut is None else self.shortcut(x)
        return out.replace(_add_relu(out.feats, residual.feats))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        convs = [module for module in self.children() if isinstance(module, SparseConv)]
        return chain_geometry(convs, stride)[0]


class BasicBlock(ResidualBlock):
    """Two 3x3x3 convolutions; ``channels`` out."""

    def __init__(self, in_channels: int, channels: int, momentum: float = 0.1) -> None:
        super().__init__(in_channels, channels, momentum)
        self.conv1 = SparseConv(in_channels, channels)
        self.norm1 = BatchNorm(channels, momentum=momentum)
        self.conv2 = SparseConv(channels, channels)
        self.norm2 = BatchNorm(channels, momentum=momentum)

    def branch(self, x: SparseTensor) -> SparseTensor:
        out = _relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(out))


class Bottleneck(ResidualBlock):
    """1x1x1, 3x3x3, 1x1x1 convolutions; ``4 * channels`` out."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, momentum: float = 0.1) -> None:
        super().__init__(in_channels, channels, momentum)
        self.conv1 = SparseConv(in_channels, channels, size=1)
        self.norm1 = BatchNorm(channels, momentum=momentum)
        self.conv2 = SparseConv(channels, channels)
        self.norm2 = BatchNorm(channels, momentum=momentum)
        self.conv3 = SparseConv(channels, self.out_channels, size=1)
        self.norm3 = BatchNorm(self.out_channels, momentum=momentum)

    def branch(self, x: SparseTensor) -> SparseTensor:
        out = _relu(self.norm1(self.conv1(x)))
        out = _relu(self.norm2(self.conv2(out)))
        return self.norm3(self.conv3(out))


BLOCKS: dict[str, type[ResidualBlock]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


def _relu(x: SparseTensor) -> SparseTensor:
    return x.replace(torch.relu_(x.feats))


def _add_relu(branch: Tensor, residual: Tensor) -> Tensor:
    return torch.relu_(branch.add_(residual))
