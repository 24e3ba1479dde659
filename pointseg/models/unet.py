"""A U-Net on sparse voxels whose stages are data.

With S levels (4 in all published models) the network is

    stem     conv k^3, norm, relu                                        stride 1
    encoder  S times: conv 2^3 stride 2, norm, relu, blocks              strides 2, 4, ..., 2^S
    decoder  S times: transposed conv 2^3 stride 2, norm, relu,
             concatenate (upsampled, skip), blocks                       strides 2^(S-1), ..., 1
    head     1^3 convolution with bias to the classes

Stages are listed encoder first, then decoder, and named ``encoder.0`` ... ``decoder.<S-1>``. Which
blocks a stage is made of is a `BlockKind`, which the configuration of a model family supplies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointseg.nn import (
    BLOCKS,
    BatchNorm,
    ConvNormReLU,
    Foldable,
    Reach,
    Sequential,
    SparseConv,
    SparseConvTranspose,
    SparseModule,
    call_module,
    chain_reach,
    mark_recomputed,
    merge_plans,
)
from pointseg.sparse import GeometryPlan, SparseTensor


@dataclass(frozen=True)
class BlockKind:
    """How the blocks of a stage are made.

    make: (in_channels, width, norm momentum) -> a module that puts out ``width * expansion``.
    """

    make: Callable[[int, int, float], SparseModule]
    expansion: int = 1


CONVOLUTION_KINDS: dict[str, BlockKind] = {
    name: BlockKind(block, block.expansion) for name, block in BLOCKS.items()
}
"""The kinds that need no further settings: "basic" and "bottleneck"."""


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a U-Net. The families add what their blocks need.

    depths: blocks of each stage, encoder then decoder (2S integers).
    widths: block width of each stage, in the same order; a stage puts out width x expansion.
    stem_kernel: size of the first convolution; odd.
    stem_width: channels after the first convolution.
    norm_momentum: of every batch norm. The published ScanNet recipes use 0.02.

    Raises ValueError that names the field.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem_kernel: int = 3
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
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0:
            raise ValueError(f"stem_kernel must be odd and positive, got {self.stem_kernel}")
        if self.stem_width < 1:
            raise ValueError(f"stem_width must be positive, got {self.stem_width}")

    @property
    def num_levels(self) -> int:
        """Number S of downsampling steps."""
        return len(self.depths) // 2

    @property
    def strides(self) -> tuple[int, ...]:
        """Relative stride of the voxels that each stage works on: 2, ..., 2^S, 2^(S-1), ..., 1."""
        levels = self.num_levels
        down = [2 ** (level + 1) for level in range(levels)]
        return (*down, *(2 ** (levels - 1 - step) for step in range(levels)))

    def down_channels(self, stage: int, in_channels: int) -> int:
        """Channels after the strided convolution of an encoder stage: those before it.

        Families whose published network widens there override this.
        """
        return in_channels

    def block_kinds(self) -> tuple[BlockKind, ...]:
        """The kind of each stage's blocks."""
        raise NotImplementedError


def _positive_ints(name: str, values: Sequence[int]) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list of positive integers, got {values!r}")
    if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in values):
        raise ValueError(f"{name} must be a list of positive integers, got {values!r}")
    return tuple(values)


class EncoderStage(SparseModule):
    """Halves the resolution, to `down_channels`, then refines."""

    def __init__(
        self,
        in_channels: int,
        down_channels: int,
        width: int,
        depth: int,
        kind: BlockKind,
        momentum: float,
    ) -> None:
        super().__init__()
        self.down = ConvNormReLU(in_channels, down_channels, size=2, stride=2, momentum=momentum)
        self.blocks = _make_blocks(down_channels, width, depth, kind, momentum)
        self.out_channels = width * kind.expansion

    def forward(self, x: SparseTensor) -> SparseTensor:
        return self.blocks(self.down(x))

    def geometry(self, stride: int = 1) -> GeometryPlan:
        below = self.down.out_stride(stride)
        return merge_plans([self.down.geometry(stride), self.blocks.geometry(below)])

    def out_stride(self, stride: int) -> int:
        return self.down.out_stride(stride)

    def reach(self, of_input: Reach, stride: int = 1) -> Reach:
        return chain_reach((self.down, self.blocks), of_input, stride)


class DecoderStage(nn.Module, Foldable):
    """Doubles the resolution onto the grid of the skip connection, joins it, then refines."""

    recomputes = False

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        width: int,
        depth: int,
        kind: BlockKind,
        momentum: float,
    ) -> None:
        super().__init__()
        self.up = SparseConvTranspose(in_channels, width, size=2, stride=2)
        self.norm: BatchNorm | None = BatchNorm(width, momentum=momentum)
        self.blocks = _make_blocks(width + skip_channels, width, depth, kind, momentum)
        self.out_channels = width * kind.expansion

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        if self.norm is None:
            upsampled = self.up.infer(x, skip.grid, relu=True)
        else:
            upsampled = self.norm(self.up(x, skip.grid), relu=True)
        return self.blocks(skip.replace(torch.cat((upsampled.feats, skip.feats), dim=1)))

    def fold_norms(self) -> None:
        self.up.fold(self.norm)
        self.norm = None

    def geometry(self, stride: int = 1) -> GeometryPlan:
        above = self.up.out_stride(stride)
        return merge_plans([self.up.geometry(stride), self.blocks.geometry(above)])

    def out_stride(self, stride: int) -> int:
        return self.up.out_stride(stride)

    def reach(self, of_input: Reach, of_skip: Reach, stride: int) -> Reach:
        """`Reach` of the output, given those of both inputs; `stride` is that of the coarser."""
        joined = self.up.reach(of_input, stride) | of_skip
        return self.blocks.reach(joined, self.out_stride(stride))


class UNet(nn.Module):
    """U-Net of the shape and with the blocks given by a `UNetConfig`.

    ``model(x)``: `SparseTensor` with feats ``[N, in_channels]`` -> voxel logits
    ``[N, num_classes]``, rows in the order of ``x``.
    """

    def __init__(self, in_channels: int, num_classes: int, config: UNetConfig) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.config = config
        levels, momentum = config.num_levels, config.norm_momentum
        stages = list(zip(config.widths, config.depths, config.block_kinds(), strict=True))
        self.stem = ConvNormReLU(
            in_channels, config.stem_width, size=config.stem_kernel, momentum=momentum
        )
        channels = config.stem_width
        skip_channels = []
        encoder: list[EncoderStage] = []
        for index, (width, depth, kind) in enumerate(stages[:levels]):
            skip_channels.append(channels)
            down = config.down_channels(index, channels)
            encoder.append(EncoderStage(channels, down, width, depth, kind, momentum))
            channels = encoder[-1].out_channels
        decoder: list[DecoderStage] = []
        for width, depth, kind in stages[levels:]:
            skip = skip_channels.pop()
            decoder.append(DecoderStage(channels, skip, width, depth, kind, momentum))
            channels = decoder[-1].out_channels
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.head = SparseConv(channels, num_classes, size=1, bias=True)

    def forward(self, x: SparseTensor) -> Tensor:
        self.check_input(x)
        x, skips = self.encode(self.stem(x))
        for up in self.decoder:
            x = call_module(up, x, skips.pop())
        return self.head(x).feats

    def check_input(self, x: SparseTensor) -> None:
        """ValueError where `x` has another number of channels than the model was built for."""
        if x.feats.shape[1] != self.in_channels:
            raise ValueError(
                f"x must have {self.in_channels} feature channels, got {x.feats.shape[1]}"
            )

    def encode(self, x: SparseTensor) -> tuple[SparseTensor, list[SparseTensor]]:
        """Output of the last encoder stage and the inputs of all, finest first."""
        skips = []
        for down in self.encoder:
            skips.append(x)
            x = call_module(down, x)
        return x, skips

    def checkpoint_activations(self, names: Sequence[str]) -> None:
        """Keep of what is named its inputs alone for the backward pass, which computes it again.

        names: ``stages`` or ``blocks`` for all of them; a stage (``decoder.3``) or a block
        (``decoder.3.blocks.0``). None: everything is kept. Results do not depend on it.

        Raises ValueError for an unknown name, and for blocks of a stage that is named, too.
        """
        stages = {
            f"{part}.{index}": stage
            for part in ("encoder", "decoder")
            for index, stage in self.get_submodule(part).named_children()
        }
        blocks = {
            f"{name}.blocks.{index}": block
            for name, stage in stages.items()
            for index, block in stage.get_submodule("blocks").named_children()
        }
        mark_recomputed({"stages": stages, "blocks": blocks}, names)

    def geometry(self) -> GeometryPlan:
        """Every kernel map that a forward pass asks for; for `VoxelGrid.prepare`."""
        stride = 1
        plans = [self.stem.geometry(stride)]
        for stage in (*self.encoder, *self.decoder):
            plans.append(stage.geometry(stride))
            stride = stage.out_stride(stride)
        return merge_plans(plans)

    def reach(self) -> Reach:
        """How far the logits of a voxel look: the theoretical receptive field."""
        reach, skips = self.encoder_reach()
        stride = 2**self.config.num_levels
        for stage in self.decoder:
            assert isinstance(stage, DecoderStage)
            reach = stage.reach(reach, skips.pop(), stride)
            stride = stage.out_stride(stride)
        return reach

    def encoder_reach(self) -> tuple[Reach, list[Reach]]:
        """`Reach` of the last encoder stage's output and of the inputs of all, finest first."""
        reach, stride, skips = self.stem.reach(Reach()), 1, []
        for stage in self.encoder:
            assert isinstance(stage, EncoderStage)
            skips.append(reach)
            reach = stage.reach(reach, stride)
            stride = stage.out_stride(stride)
        return reach, skips


def _make_blocks(
    in_channels: int, width: int, depth: int, kind: BlockKind, momentum: float
) -> Sequential:
    inputs = [in_channels] + [width * kind.expansion] * (depth - 1)
    return Sequential(*(kind.make(channels, width, momentum) for channels in inputs))
