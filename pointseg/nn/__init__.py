"""Modules over `SparseTensor`: convolutions, norms, pooling and residual blocks."""

from pointseg.nn.base import (
    Sequential,
    SparseModule,
    chain_geometry,
    chain_reach,
    merge_plans,
)
from pointseg.nn.blocks import (
    BLOCKS,
    BasicBlock,
    Bottleneck,
    ConvNorm,
    ConvNormReLU,
    ResidualBlock,
)
from pointseg.nn.choice import ChoiceConfig, TemperatureConfig
from pointseg.nn.choice_record import ChoiceRecord, ChoiceStatistics, record_choices
from pointseg.nn.codebook import CodebookBlock, CodebookConfig
from pointseg.nn.conv import RegionConv, SparseConv, SparseConvTranspose
from pointseg.nn.fold import Foldable, folded
from pointseg.nn.pointwise import BatchNorm, Linear, Pointwise, ReLU, batch_norm_rows
from pointseg.nn.pool import GlobalPool, Pool
from pointseg.nn.prior import GeometryPrior, PriorConfig
from pointseg.nn.quantizer import VectorQuantizer
from pointseg.nn.reach import Reach
from pointseg.nn.recomputation import call_module, mark_recomputed
from pointseg.nn.sync_batch_norm import SyncBatchNorm1d, synchronized

__all__ = [
    "BLOCKS",
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "ChoiceConfig",
    "ChoiceRecord",
    "ChoiceStatistics",
    "CodebookBlock",
    "CodebookConfig",
    "ConvNorm",
    "ConvNormReLU",
    "Foldable",
    "GeometryPrior",
    "GlobalPool",
    "Linear",
    "Pointwise",
    "Pool",
    "PriorConfig",
    "ReLU",
    "Reach",
    "RegionConv",
    "ResidualBlock",
    "Sequential",
    "SparseConv",
    "SparseConvTranspose",
    "SparseModule",
    "SyncBatchNorm1d",
    "TemperatureConfig",
    "VectorQuantizer",
    "batch_norm_rows",
    "call_module",
    "chain_geometry",
    "chain_reach",
    "folded",
    "mark_recomputed",
    "merge_plans",
    "record_choices",
    "synchronized",
]
