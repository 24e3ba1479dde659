"""MinkUNet: the U-Net of residual convolution blocks.

Choy, Gwak, Savarese: 4D Spatio-Temporal ConvNets (CVPR 2019). Depths and widths below are those of
MinkowskiEngine's example networks; the network itself is in `pointseg.models.unet`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.models.unet import CONVOLUTION_KINDS, BlockKind, UNet, UNetConfig


@dataclass(frozen=True)
class MinkUNetConfig(UNetConfig):
    """Shape of a MinkUNet.

    block: "basic" (two 3^3 convolutions) or "bottleneck" (1, 3, 1; expansion 4).
    stem_kernel: 5 in MinkowskiEngine's examples.

    The other fields and errors are those of `UNetConfig`.
    """

    stem_kernel: int = 5
    block: str = "basic"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block not in CONVOLUTION_KINDS:
            raise ValueError(
                f"block must be one of {', '.join(CONVOLUTION_KINDS)}, got {self.block!r}"
            )

    def block_kinds(self) -> tuple[BlockKind, ...]:
        return (CONVOLUTION_KINDS[self.block],) * len(self.depths)


class MinkUNet(UNet):
    """MinkUNet of the shape given by a `MinkUNetConfig`; see `UNet`."""


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
    # Matched with CodedVTR S, M and L in depth, stem and, to within one per cent, in parameters.
    "minkunet_s": MinkUNetConfig(_DEPTHS[14], (24, 40, 88, 112, 80, 56, 32, 32), stem_kernel=3),
    "minkunet_m": MinkUNetConfig(_DEPTHS[18], (24, 48, 88, 168, 80, 80, 64, 64), stem_kernel=3),
    "minkunet_l": MinkUNetConfig(_DEPTHS[18], (32, 56, 112, 216, 112, 112, 80, 80), stem_kernel=3),
}
