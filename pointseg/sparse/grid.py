"""A set of voxels, and the geometry found on it so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pointseg import _native
from pointseg.ops import Coarser, downsample, downsample_map, kernel_map, voxel_keys
from pointseg.ops.voxelize import check_coords, sort_keys
from pointseg.sparse.kernel_map import KernelMap
from pointseg.sparse.plan import GeometryPlan
from pointseg.sparse.prepare import find_at_once
from pointseg.sparse.region import Region, RegionSet
from pointseg.sparse.region_map import RegionMap
from pointseg.sparse.spec import KernelSpec

MAX_STRIDE = 1024


class VoxelGrid:
    """N unique voxels of B scenes.

    Coordinates are int32 (batch, x, y, z) in units of the finest voxel; on a grid of stride t
    they are multiples of t. A grid is a value: coordinates never change. What is derived from
    them (sorted keys, coarser grids, kernel maps) is kept in a private cache, which lives as long
    as the grid and is no part of what is pickled.

    Args:
        coords: int32 [N, 4], unique, in any order.
        stride: t.
        num_scenes: B; by default the largest batch index plus one.

    Raises:
        ValueError: voxels come twice, or are not multiples of `stride`.
    """

    def __init__(self, coords: Tensor, stride: int = 1, num_scenes: int | None = None) -> None:
        check_coords(coords)
        if not 1 <= stride <= MAX_STRIDE:
            raise ValueError(f"stride: expected 1..{MAX_STRIDE}, got {stride}")
        keys, order = sort_keys(voxel_keys(coords))
        twice = keys[1:] == keys[:-1]
        if bool(twice.any()):
            row = int(order[1:][twice][0])
            raise ValueError(
                f"coords: {int(twice.sum())} voxels come more than once, first (batch, x, y, z) = "
                f"{tuple(coords[row].tolist())}; group points with pointseg.ops.voxelize first"
            )
        if stride > 1 and bool((coords[:, 1:] % stride != 0).any()):
            raise ValueError(f"coords: expected multiples of the stride {stride}")
        if num_scenes is not None and bool((coords[:, 0] >= num_scenes).any()):
            raise ValueError(
                f"num_scenes: expected more than the largest batch index "
                f"{int(coords[:, 0].max())}, got {num_scenes}"
            )
        in_order = bool((order[1:] > order[:-1]).all())
        self._set(coords, keys, None if in_order else order.int(), stride, num_scenes)

    @classmethod
    def _sorted(
        cls, coords: Tensor, keys: Tensor, stride: int, num_scenes: int | None
    ) -> VoxelGrid:
        """A grid whose rows are known to be unique and sorted."""
        grid = cls.__new__(cls)
        grid._set(coords, keys, None, stride, num_scenes)
        return grid

    def _set(
        self,
        coords: Tensor,
        keys: Tensor,
        order: Tensor | None,
        stride: int,
        num_scenes: int | None,
    ) -> None:
        if num_scenes is None:
            num_scenes = int(coords[:, 0].max()) + 1 if coords.shape[0] else 0
        self.coords = coords
        self.stride = stride
        self.num_scenes = num_scenes
        self.sorted_keys = keys
        self._order = order
        self._coarser: dict[int, VoxelGrid] = {}
        self._parents: dict[int, Coarser] = {}
        self._maps: dict[KernelSpec | Region, KernelMap] = {}
        self._region_maps: dict[RegionSet, RegionMap] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            raise AttributeError(f"VoxelGrid.{name} cannot be changed: a grid is a value")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return (
            f"VoxelGrid({self.num_voxels} voxels, {self.num_scenes} scenes, stride {self.stride})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_coarser": {}, "_parents": {}, "_maps": {}, "_region_maps": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def num_voxels(self) -> int:
        """N."""
        return int(self.coords.shape[0])

    @property
    def device(self) -> torch.device:
        return self.coords.device

    @property
    def order(self) -> Tensor:
        """int32 [N], the row of each sorted voxel: ``voxel_keys(coords)[order] == sorted_keys``."""
        if self._order is not None:
            return self._order
        return torch.arange(self.num_voxels, dtype=torch.int32, device=self.device)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> VoxelGrid:
        """Copy to a device; the same grid where it is there already."""
        if self.device == torch.device(device):
            return self
        return self._copied(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> VoxelGrid:
        """Copy to memory that a GPU reads by itself."""
        return self._copied(Tensor.pin_memory)

    def _copied(self, copy: Callable[[Tensor], Tensor]) -> VoxelGrid:
        grid = VoxelGrid.__new__(VoxelGrid)
        order = None if self._order is None else copy(self._order)
        grid._set(copy(self.coords), copy(self.sorted_keys), order, self.stride, self.num_scenes)
        return grid

    def downsample(self, factor: int) -> VoxelGrid:
        """The grid of stride ``t * factor``: coordinates rounded down, each once, rows sorted."""
        if factor < 1 or self.stride * factor > MAX_STRIDE:
            raise ValueError(
                f"factor: expected at least 1 and a stride of at most {MAX_STRIDE}, got {factor} "
                f"on a grid of stride {self.stride}"
            )
        if factor == 1:
            return self
        if factor not in self._coarser:
            self._keep_coarser(factor, downsample(self.sorted_keys, self.stride * factor))
        return self._coarser[factor]

    def _keep_coarser(self, factor: int, found: Coarser) -> None:
        self._parents[factor] = found
        self._coarser[factor] = VoxelGrid._sorted(
            found.coords, found.keys, self.stride * factor, self.num_scenes
        )

    def kernel_map(self, kernel: KernelSpec | Region) -> KernelMap:
        """The map of a kernel from this grid to ``self.downsample(stride)``. Found once.

        An output voxel o reads, at tap k, the input voxel at ``o + t * dilation * offset_k``. Of a
        region the map has the taps that exist, in order.
        """
        if kernel not in self._maps:
            if isinstance(kernel, Region):
                whole = self.kernel_map(kernel.spec)
                self._maps[kernel] = whole if kernel.is_full else whole.select(kernel.taps)
            else:
                self._maps[kernel] = self._find_map(kernel)
        return self._maps[kernel]

    def _find_map(self, spec: KernelSpec) -> KernelMap:
        out = self.downsample(spec.stride)
        if spec.covers_once:
            coarser = self._parents[spec.stride]
            pairs = downsample_map(self.sorted_keys, coarser, self.stride, spec.size, self._order)
            return KernelMap(spec, self.num_voxels, out.num_voxels, *pairs)
        offsets = torch.tensor(spec.offsets, dtype=torch.int32) * (self.stride * spec.dilation)
        arrays = kernel_map(self.sorted_keys, out.sorted_keys, offsets, self._order, out._order)
        return KernelMap(spec, self.num_voxels, out.num_voxels, *arrays)

    def region_map(self, regions: RegionSet) -> RegionMap:
        """The occupied taps of a codebook's regions around every voxel. Found once."""
        if regions not in self._region_maps:
            maps = {region.spec: self.kernel_map(region.spec) for region in regions}
            self._region_maps[regions] = RegionMap.build(regions, maps)
        return self._region_maps[regions]

    def prepare(self, plan: GeometryPlan) -> VoxelGrid:
        """Build every coarser grid and every map, both ways, that a network has declared.

        On a GPU with one host synchronisation, and the result is that of access on demand.

        Args:
            plan: (stride of the finer grid relative to this one, kernel, region or regions) for
                every map.

        Raises:
            ValueError: a stride that no kernel of the plan leads to.
        """
        if _native.uses_cuda_kernels(self.device):
            find_at_once(self, plan)
        grids = {1: self}
        for stride, kernel in sorted(plan, key=lambda entry: entry[0]):
            if stride not in grids:
                raise ValueError(
                    f"plan: no kernel leads to stride {stride}, only to {sorted(grids)}"
                )
            grid = grids[stride]
            if isinstance(kernel, RegionSet):
                grid.region_map(kernel)
                continue
            grid.kernel_map(kernel).transposed()
            if isinstance(kernel, KernelSpec):
                grids.setdefault(stride * kernel.stride, grid.downsample(kernel.stride))
        return self


def containing_rows(fine: VoxelGrid, coarse: VoxelGrid) -> Tensor:
    """The row of the voxel of `coarse` that contains each voxel of `fine`, int64 [N].

    Coordinates of `fine` are rounded down to multiples of the stride of `coarse`, as
    :meth:`VoxelGrid.downsample` does.

    Raises:
        ValueError: a voxel of `fine` lies in none of `coarse`.
    """
    coords = fine.coords.clone()
    stride = coarse.stride
    coords[:, 1:] = torch.div(coords[:, 1:], stride, rounding_mode="floor") * stride
    keys = voxel_keys(coords)
    found = torch.searchsorted(coarse.sorted_keys, keys)
    inside = torch.isin(keys, coarse.sorted_keys)
    if not bool(inside.all()):
        missing = fine.coords[~inside][0].tolist()
        raise ValueError(
            f"coarse: no voxel of {coarse} contains (batch, x, y, z) = {tuple(missing)} of {fine}"
        )
    return coarse.order.long()[found]
