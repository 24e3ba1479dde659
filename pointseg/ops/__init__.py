"""The operators: tensors and kernel maps in, tensors out.

One file per operator, with its public function, its readable reference in plain torch, its shape
function for tracing and its gradient. The kernels themselves are in ``csrc/``.
"""

from __future__ import annotations

from pointseg.ops.batch_norm import batch_norm
from pointseg.ops.codebook_attention import codebook_attention
from pointseg.ops.codebook_logits import codebook_logits
from pointseg.ops.depthwise_conv import depthwise_conv
from pointseg.ops.downsample import Coarser, downsample, downsample_map
from pointseg.ops.gather_neighbors import gather_neighbors
from pointseg.ops.interpolate import interpolate
from pointseg.ops.kernel_map import kernel_map, swap_kernel_map
from pointseg.ops.mask_order import mask_order
from pointseg.ops.pool import global_pool, pool
from pointseg.ops.row_lists import RowLists, row_lists
from pointseg.ops.scatter_reduce import scatter_reduce
from pointseg.ops.sparse_conv import sparse_conv, sparse_conv_fused, sparse_conv_transpose
from pointseg.ops.vector_quantize import code_sums, vector_quantize
from pointseg.ops.voxelize import Voxelization, voxel_keys, voxel_reduce, voxelize, voxelize_points

__all__ = [
    "Coarser",
    "RowLists",
    "Voxelization",
    "batch_norm",
    "code_sums",
    "codebook_attention",
    "codebook_logits",
    "depthwise_conv",
    "downsample",
    "downsample_map",
    "gather_neighbors",
    "global_pool",
    "interpolate",
    "kernel_map",
    "mask_order",
    "pool",
    "row_lists",
    "scatter_reduce",
    "sparse_conv",
    "sparse_conv_fused",
    "sparse_conv_transpose",
    "swap_kernel_map",
    "vector_quantize",
    "voxel_keys",
    "voxel_reduce",
    "voxelize",
    "voxelize_points",
]
