"""Sparse tensors: voxel grids, the kernels that run over them, and the maps between them."""

from __future__ import annotations

from pointseg.sparse.grid import VoxelGrid, containing_rows
from pointseg.sparse.kernel_map import KernelMap
from pointseg.sparse.plan import GeometryPlan
from pointseg.sparse.region import Region, RegionSet, cubes
from pointseg.sparse.region_map import RegionMap
from pointseg.sparse.spec import KernelSpec
from pointseg.sparse.tensor import SparseTensor

__all__ = [
    "GeometryPlan",
    "KernelMap",
    "KernelSpec",
    "Region",
    "RegionMap",
    "RegionSet",
    "SparseTensor",
    "VoxelGrid",
    "containing_rows",
    "cubes",
]
