"""Modules over `SparseTensor`: convolutions, norms, pooling and residual blocks."""

from pointseg.nn.base import Sequential, SparseModule, chain_geometry, merge_plans
from pointseg.nn.blocks import (
    BLOCKS,
    BasicBlock,
    Bottleneck,
    ConvNorm,
    ConvNormReLU,
    ResidualBlock,
)
from pointseg.nn.conv import SparseConv, SparseConvTranspose
from pointseg.nn.pointwise import BatchNorm, Linear, Pointwise, ReLU
from pointseg.nn.pool import GlobalPool, Pool

__all__ = [
    "BLOCKS",
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "ConvNorm",
    "ConvNormReLU",
    "GlobalPool",
    "Linear",
    "Pointwise",
    "Pool",
    "ReLU",
    "ResidualBlock",
    "Sequential",
    "SparseConv",
    "SparseConvTranspose",
    "SparseModule",
    "chain_geometry",
    "merge_plans",
]
