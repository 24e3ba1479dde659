"""SPVCNN: a sparse U-Net beside a point branch that never loses resolution.

Tang et al.: Searching Efficient 3D Architectures with Sparse Point-Voxel Convolution (ECCV 2020).
A linear layer, batch norm and ReLU carry the features of every point on, past the stages that see
voxels. The two sides meet after the encoder, in the middle of the decoder and at its end:

    points = relu(norm(linear(points))) + voxels read at the points
    voxels = dropout(mean of the points in each voxel)  (what the decoder goes on with)

and the classes are read off the points. In this library a model sees voxels only, so a point is a
voxel of the finest grid: at the end both sides live on the same rows.

Which blocks the stages have is data, as in every U-Net here: basic blocks make the published
SPVCNN, codebook blocks the SPVCNN of CodedVTR.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pointseg.models.codebook_unet import CodebookUNet, CodebookUNetConfig
from pointseg.models.point_branch import points_to_voxels, voxels_to_points
from pointseg.models.unet import DecoderStage
from pointseg.nn import Reach, batch_norm_rows, call_module
from pointseg.sparse import SparseTensor, VoxelGrid


@dataclass(frozen=True)
class SPVCNNConfig(CodebookUNetConfig):
    """Shape of an SPVCNN; two levels at least.

    dropout: share of the voxel features that are dropped where points have been averaged. 0.3 in
        the published network.

    The other fields and errors are those of `CodebookUNetConfig`.
    """

    dropout: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_levels < 2:
            raise ValueError(
                "depths and widths must have at least two encoder and two decoder stages, since "
                "points and voxels meet in the middle of the decoder"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")


class SPVCNN(CodebookUNet):
    """SPVCNN of the shape given by an `SPVCNNConfig`; see `UNet`.

    ``point_branches``: the three point-wise transforms, in the order of the joins.
    """

    def __init__(self, in_channels: int, num_classes: int, config: SPVCNNConfig) -> None:
        super().__init__(in_channels, num_classes, config)
        self.middle = config.num_levels // 2
        widths = [
            width * kind.expansion
            for width, kind in zip(config.widths, config.block_kinds(), strict=True)
        ]
        joined = [
            widths[config.num_levels - 1],
            widths[config.num_levels + self.middle - 1],
            widths[-1],
        ]
        self.point_branches = nn.ModuleList(
            _PointBranch(channels, out, config.norm_momentum)
            for channels, out in zip([config.stem_width, *joined], joined, strict=False)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: SparseTensor) -> Tensor:
        self.check_input(x)
        grid = x.grid
        x = self.stem(x)
        points = x.feats
        x, skips = self.encode(x)
        points = self._join(0, points, x, grid)
        x = self._scatter(points, grid, x.grid)
        for step, up in enumerate(self.decoder, start=1):
            x = call_module(up, x, skips.pop())
            if step == self.middle:
                points = self._join(1, points, x, grid)
                x = self._scatter(points, grid, x.grid)
        return self.head(SparseTensor(self._join(2, points, x, grid), grid)).feats

    def reach(self) -> Reach:
        points = self.stem.reach(Reach())
        x, skips = self.encoder_reach()
        stride = 2**self.config.num_levels
        points |= x.interpolated(stride)
        x = points.averaged(stride)
        for step, up in enumerate(self.decoder, start=1):
            assert isinstance(up, DecoderStage)
            x = up.reach(x, skips.pop(), stride)
            stride = up.out_stride(stride)
            if step == self.middle:
                points |= x.interpolated(stride)
                x = points.averaged(stride)
        return points | x

    def _join(self, index: int, points: Tensor, x: SparseTensor, grid: VoxelGrid) -> Tensor:
        transformed: Tensor = self.point_branches[index](points)
        return transformed + voxels_to_points(x, grid)

    def _scatter(self, points: Tensor, grid: VoxelGrid, coarse: VoxelGrid) -> SparseTensor:
        voxels = points_to_voxels(points, grid, coarse)
        return voxels.replace(self.dropout(voxels.feats))


class _PointBranch(nn.Sequential):
    """Linear layer, batch norm, ReLU, on rows."""

    def __init__(self, in_channels: int, out_channels: int, momentum: float) -> None:
        linear = nn.Linear(in_channels, out_channels)
        super().__init__(linear, nn.BatchNorm1d(out_channels, momentum=momentum))

    def forward(self, points: Tensor) -> Tensor:
        linear, norm = self
        return batch_norm_rows(norm, linear(points), relu=True)


_TWO = (2,) * 8

PRESETS: dict[str, SPVCNNConfig] = {
    "spvcnn": SPVCNNConfig(_TWO, (24, 40, 88, 168, 80, 80, 64, 64), blocks=("basic",) * 8),
    "codedvtr_spvcnn": SPVCNNConfig(_TWO, (24, 48, 96, 192, 96, 96, 72, 72)),
}
