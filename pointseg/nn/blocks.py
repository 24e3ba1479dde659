"""Residual blocks of the MinkUNet family (after He et al. 2016, on sparse voxels)."""

from __future__ import annotations

from typing import ClassVar

from pointseg.nn.base import SparseModule, chain_geometry, chain_reach
from pointseg.nn.conv import SparseConv
from pointseg.nn.fold import Foldable
from pointseg.nn.pointwise import BatchNorm
from pointseg.nn.reach import Reach
from pointseg.sparse import GeometryPlan, SparseTensor


def conv_norm(
    conv: SparseConv,
    norm: BatchNorm | None,
    x: SparseTensor,
    residual: SparseTensor | None = None,
    relu: bool = False,
) -> SparseTensor:
    """``relu(norm(conv(x)) + residual)``; norm: None where it is folded into the convolution."""
    if norm is None:
        return conv.infer(x, residual, relu)
    out: SparseTensor = norm(conv(x), residual, relu)
    return out


class ConvNorm(SparseModule, Foldable):
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
        self.norm: BatchNorm | None = BatchNorm(out_channels, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return conv_norm(self.conv, self.norm, x)

    def fold_norms(self) -> None:
        self.conv.fold(self.norm)
        self.norm = None

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return self.conv.geometry(stride)

    def out_stride(self, stride: int) -> int:
        return self.conv.out_stride(stride)

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return self.conv.reach(of_input, stride)


class ConvNormReLU(ConvNorm):
    """Convolution, batch norm, ReLU."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        return conv_norm(self.conv, self.norm, x, relu=True)


class ResidualBlock(SparseModule, Foldable):
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

    def branch(self, x: SparseTensor, residual: SparseTensor) -> SparseTensor:
        """The block's output: the last norm of the branch also adds `residual` and clips at 0."""
        raise NotImplementedError

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.branch(x, x if self.shortcut is None else self.shortcut(x))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        return chain_geometry(self._branch_convs(), stride)[0]

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return of_input | chain_reach(self._branch_convs(), of_input, stride)

    def _branch_convs(self) -> list[SparseConv]:
        return [module for module in self.children() if isinstance(module, SparseConv)]


class BasicBlock(ResidualBlock):
    """Two 3x3x3 convolutions; ``channels`` out."""

    def __init__(self, in_channels: int, channels: int, momentum: float = 0.1) -> None:
        super().__init__(in_channels, channels, momentum)
        self.conv1 = SparseConv(in_channels, channels)
        self.norm1: BatchNorm | None = BatchNorm(channels, momentum=momentum)
        self.conv2 = SparseConv(channels, channels)
        self.norm2: BatchNorm | None = BatchNorm(channels, momentum=momentum)

    def branch(self, x: SparseTensor, residual: SparseTensor) -> SparseTensor:
        out = conv_norm(self.conv1, self.norm1, x, relu=True)
        return conv_norm(self.conv2, self.norm2, out, residual, relu=True)

    def fold_norms(self) -> None:
        self.conv1.fold(self.norm1)
        self.conv2.fold(self.norm2)
        self.norm1 = self.norm2 = None


class Bottleneck(ResidualBlock):
    """1x1x1, 3x3x3, 1x1x1 convolutions; ``4 * channels`` out."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, momentum: float = 0.1) -> None:
        super().__init__(in_channels, channels, momentum)
        self.conv1 = SparseConv(in_channels, channels, size=1)
        self.norm1: BatchNorm | None = BatchNorm(channels, momentum=momentum)
        self.conv2 = SparseConv(channels, channels)
        self.norm2: BatchNorm | None = BatchNorm(channels, momentum=momentum)
        self.conv3 = SparseConv(channels, self.out_channels, size=1)
        self.norm3: BatchNorm | None = BatchNorm(self.out_channels, momentum=momentum)

    def branch(self, x: SparseTensor, residual: SparseTensor) -> SparseTensor:
        out = conv_norm(self.conv1, self.norm1, x, relu=True)
        out = conv_norm(self.conv2, self.norm2, out, relu=True)
        return conv_norm(self.conv3, self.norm3, out, residual, relu=True)

    def fold_norms(self) -> None:
        self.conv1.fold(self.norm1)
        self.conv2.fold(self.norm2)
        self.conv3.fold(self.norm3)
        self.norm1 = self.norm2 = self.norm3 = None


BLOCKS: dict[str, type[ResidualBlock]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
