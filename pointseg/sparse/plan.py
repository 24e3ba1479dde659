"""What a network needs of a grid."""

from __future__ import annotations

from typing import TypeAlias

from pointseg.sparse.region import Region, RegionSet
from pointseg.sparse.spec import KernelSpec

GeometryPlan: TypeAlias = tuple[tuple[int, KernelSpec | Region | RegionSet], ...]
"""The maps that a network needs: (stride of the finer grid relative to the input grid, kernel,
region, or regions of a codebook)."""
