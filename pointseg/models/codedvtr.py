"""CodedVTR: the U-Net of codebook attention blocks.

Zhao et al.: CodedVTR, Codebook-based Sparse Voxel Transformer with Geometric Guidance (CVPR 2022).
The first and the last stage keep basic blocks, the others attend, and strided convolutions widen;
see `pointseg.nn.CodebookBlock` for the attention and `pointseg.models.unet` for the network.
"""

from __future__ import annotations

from dataclasses import dataclass

from pointseg.models.codebook_unet import CodebookUNet, CodebookUNetConfig


@dataclass(frozen=True)
class CodedVTRConfig(CodebookUNetConfig):
    """Shape of a CodedVTR; fields and errors are those of `CodebookUNetConfig`."""

    def down_channels(self, stage: int, in_channels: int) -> int:
        """The stage's width: the strided convolution widens, as published."""
        return self.widths[stage]


class CodedVTR(CodebookUNet):
    """CodedVTR of the shape given by a `CodedVTRConfig`; see `UNet`."""


PRESETS: dict[str, CodedVTRConfig] = {
    "codedvtr_s": CodedVTRConfig((1,) * 8, (32, 48, 96, 128, 96, 64, 32, 32)),
    "codedvtr_m": CodedVTRConfig((2,) * 8, (24, 48, 96, 192, 96, 96, 72, 72)),
    "codedvtr_l": CodedVTRConfig((2,) * 8, (32, 64, 128, 256, 128, 128, 96, 96)),
}
