"""MinkUNet: a U-Net of residual blocks on sparse voxels, described by data.

Choy, Gwak, Savarese: 4D Spatio-Temporal ConvNets (CVPR 2019). With S levels (4 in all published
models) the network is

    stem     conv k^3, norm, relu                                        stride 1
    encoder  S times: conv 2^3 stride 2, norm, relu, residual blocks     strides 2, 4, ..., 2^S
    decoder  S times: transposed conv 2^3 stride 2, norm, relu,
             concatenate (upsampled, skip), residual blocks              strides 2^(S-1), ..., 1
    head     1^3 convolution with bias to the classes

Depths and widths below are those of MinkowskiEngine's example networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointseg.nn import (
    BLOCKS,
    BatchNorm,
    ConvNormReLU,
    Sequential,
    SparseConv,
    SparseConvTranspose,
    SparseModule,
    merge_plans,
)
from pointseg.sparse import GeometryPlan, SparseTensor


@dataclass(frozen=True)
class MinkUNetConfig:
    """Shape of a MinkUNet.

    depths: residual blocks of each stage, encoder then decoder (2S integers).
    widths: block width of each stage, in the same order; a stage puts out width x expansion.
    block: "basic" (two 3^3 convolutions) or "bottleneck" (1, 3, 1; expansion 4).
    stem_kernel: size of the first convolution; odd. 5 in MinkowskiEngine's examples.
    stem_width: channels after the first convolution.
    norm_momentum: of every batch norm. The published ScanNet recipe uses 0.02.

    Raises ValueError that names the field.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    block: str = "basic"
    stem_kernel: int = 5
    stem_width: int = 32
    norm_momentum: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", _positive_ints("depths", self.depths))
        object.__setattr__(self, "widths", _positive_ints("widths", self.widths))
        if len(self.depths) != len(self.widths):
            raise ValueError(
                f"depths and widths must have the same length, got {len(self.depths)} "
                f"and {len(self.widths)}"
            )
        if len(self.depths) < 2 or len(self.depths) % 2:
            raise ValueError(
                "depths and widths must list as many decoder stages as encoder stages, "
                f"got {len(self.depths)} stages in all"
            )
        if self.block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}, got {self.block!r}")
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0:
            raise ValueError(f"stem_kernel must be odd and positive, got {self.stem_kernel}")
        if self.stem_width < 1:
            raise ValueError(f"stem_width must be positive, got {self.stem_width}")

    @property
    def num_levels(self) -> int:
        """Number S of downsampling steps."""
        return len(self.depths) // 2


def _positive_ints(name: str, values: Sequence[int]) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list of positive integers, got {values!r}")
    if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values):
        raise ValueError(f"{name} must be a list of positive integers, got {values!r}")
    return tuple(values)


class EncoderStage(SparseModule):
    """Halves the resolution, then refines."""

    def __init__(
        self, in_channels: int, width: int, depth: int, block: str, momentum: float
    ) -> None:
        super().__init__()
        self.down = ConvNormReLU(in_channels, in_channels, size=2, stride=2, momentum=momentum)
        self.blocks = _make_blocks(in_channels, width, depth, block, momentum)
        self.out_channels = width * BLOCKS[block].expansion

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.blocks(self.down(x))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        below = self.down.out_stride(stride)
        return merge_plans([self.down.geometry(stride), self.blocks.geometry(below)])

    def out_stride(self, stride: int) -> int:
        return self.down.out_stride(stride)


class DecoderStage(nn.Module):
    """Doubles the resolution onto the grid of the skip connection, joins it, then refines."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        width: int,
        depth: int,
        block: str,
        momentum: float,
    ) -> None:
        super().__init__()
        self.up = SparseConvTranspose(in_channels, width, size=2, stride=2)
        self.norm = BatchNorm(width, momentum=momentum)
        self.blocks = _make_blocks(width + skip_channels, width, depth, block, momentum)
        self.out_channels = width * BLOCKS[block].expansion

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        upsampled = torch.relu_(self.norm(self.up(x, skip.grid)).feats)
        return self.blocks(skip.replace(torch.cat((upsampled, skip.feats), dim=1)))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        above = self.up.out_stride(stride)
        return merge_plans([self.up.geometry(stride), self.blocks.geometry(above)])

    def out_stride(self, stride: int) -> int:
        return self.up.out_stride(stride)


class MinkUNet(nn.Module):
    """MinkUNet of the shape given by a `MinkUNetConfig`.

    ``model(x)``: `SparseTensor` with feats ``[N, in_channels]`` -> voxel logits
    ``[N, num_classes]``, rows in the order of ``x``.
    """

    def __init__(self, in_channels: int, num_classes: int, config: MinkUNetConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.config = config
        levels, block, momentum = config.num_levels, config.block, config.norm_momentum
        self.stem = ConvNormReLU(
            in_channels, config.stem_width, size=config.stem_kernel, momentum=momentum
        )
        channels = config.stem_width
        skip_channels = []
        encoder: list[EncoderStage] = []
        for width, depth in zip(config.widths[:levels], config.depths[:levels], strict=True):
            skip_channels.append(channels)
            encoder.append(EncoderStage(channels, width, depth, block, momentum))
            channels = encoder[-1].out_channels
        decoder: list[DecoderStage] = []
        for width, depth in zip(config.widths[levels:], config.depths[levels:], strict=True):
            skip = skip_channels.pop()
            decoder.append(DecoderStage(channels, skip, width, depth, block, momentum))
            channels = decoder[-1].out_channels
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.head = SparseConv(channels, num_classes, size=1, bias=True)

    def forward(self, x: SparseTensor) -> Tensor:
        if x.feats.shape[1] != self.in_channels:
            raise ValueError(
                f"x must have {self.in_channels} feature channels, got {x.feats.shape[1]}"
            )
        x = self.stem(x)
        skips = []
        for down in self.encoder:
            skips.append(x)
            x = down(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x).feats

    def geometry(self) -> GeometryPlan:
        """Every kernel map that a forward pass asks for; for `VoxelGrid.prepare`."""
        stride = 1
        plans = [self.stem.geometry(stride)]
        for stage in (*self.encoder, *self.decoder):
            plans.append(stage.geometry(stride))
            stride = stage.out_stride(stride)
        return merge_plans(plans)


def _make_blocks(
    in_channels: int, width: int, depth: int, block: str, momentum: float
) -> Sequential:
    block_type = BLOCKS[block]
    inputs = [in_channels] + [width * block_type.expansion] * (depth - 1)
    return Sequential(*(block_type(channels, width, momentum) for channels in inputs))


_DEPTHS = {
    14: (1, 1, 1, 1, 1, 1, 1, 1),
    18: (2, 2, 2, 2, 2, 2, 2, 2),
    34: (2, 3, 4, 6, 2, 2, 2, 2),
    101: (2, 3, 4, 23, 2, 2, 2, 2),
}

PRESETS: dict[str, MinkUNetConfig] = {
    "minkunet14a": MinkUNetConfig(_DEPTHS[14], (32, 64, 128, 256, 128, 128, 96, 96)),
    "minkunet14b": MinkUNetConfig(_DEPTHS[14], (32, 64, 128, 256, 128, 128, 128, 128)),
    "minkunet14c": MinkUNetConfig(_DEPTHS[14], (32, 64, 128, 256, 192, 192, 128, 128)),
    "minkunet14d": MinkUNetConfig(_DEPTHS[14], (32, 64, 128, 256, 384, 384, 384, 384)),
    "minkunet18a": MinkUNetConfig(_DEPTHS[18], (32, 64, 128, 256, 128, 128, 96, 96)),
    "minkunet18b": MinkUNetConfig(_DEPTHS[18], (32, 64, 128, 256, 128, 128, 128, 128)),
    "minkunet18d": MinkUNetConfig(_DEPTHS[18], (32, 64, 128, 256, 384, 384, 384, 384)),
    "minkunet34a": MinkUNetConfig(_DEPTHS[34], (32, 64, 128, 256, 256, 128, 64, 64)),
    "minkunet34b": MinkUNetConfig(_DEPTHS[34], (32, 64, 128, 256, 256, 128, 64, 32)),
    "minkunet34c": MinkUNetConfig(_DEPTHS[34], (32, 64, 128, 256, 256, 128, 96, 96)),
    "minkunet50": MinkUNetConfig(
        _DEPTHS[34], (32, 64, 128, 256, 256, 128, 96, 96), block="bottleneck"
    ),
    "minkunet101": MinkUNetConfig(
        _DEPTHS[101], (32, 64, 128, 256, 256, 128, 96, 96), block="bottleneck"
    ),
}
