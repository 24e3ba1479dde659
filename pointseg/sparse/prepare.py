"""What a plan asks of a grid, found at once: for GPUs, which then are waited for once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from pointseg.ops import Coarser
from pointseg.ops._common import native
from pointseg.sparse.kernel_map import KernelMap
from pointseg.sparse.plan import GeometryPlan
from pointseg.sparse.region import Region, RegionSet
from pointseg.sparse.spec import KernelSpec

if TYPE_CHECKING:
    from pointseg.sparse.grid import VoxelGrid


@dataclass
class _Node:
    """A grid of the plan: its place in the list of all, and what the plan asks of it."""

    index: int
    stride: int
    specs: dict[KernelSpec, int] = field(default_factory=dict)  # and the node each leads to
    coarser: dict[int, _Node] = field(default_factory=dict)  # by factor


def find_at_once(grid: VoxelGrid, plan: GeometryPlan) -> None:
    """Find the coarser grids and kernel maps of a plan with one host synchronisation.

    They go where `VoxelGrid.downsample` and `VoxelGrid.kernel_map` look for them, and are what
    those would have found; what is there already stays. Entries of a stride that no kernel leads
    to are left out.
    """
    nodes = _nodes(grid, plan)
    if _is_known(grid, nodes[0]):
        return
    grids: list[int] = []
    maps: list[int] = []
    parents = {child.index: node for node in nodes for child in node.coarser.values()}
    for node in nodes[1:]:
        grids += (parents[node.index].index, node.stride)
    for node in nodes:
        for spec, out in node.specs.items():
            step = node.stride * spec.dilation
            maps += (node.index, out, int(not spec.is_symmetric), spec.num_taps)
            maps += (step * coordinate for offset in spec.offsets for coordinate in offset)
    arrays = iter(native("prepare_geometry")(grid.sorted_keys, grid._order, grids, maps))

    found = [grid]
    for node in nodes[1:]:
        parent = found[parents[node.index].index]
        found.append(_keep_grid(parent, node.stride, Coarser(*_take(arrays, 3))))
    for node in nodes:
        for spec, out in node.specs.items():
            _keep_map(found[node.index], found[out], spec, arrays)


def _nodes(grid: VoxelGrid, plan: GeometryPlan) -> list[_Node]:
    """The grids of a plan, finer before coarser, as `VoxelGrid.prepare` comes to them."""
    nodes = [_Node(0, grid.stride)]
    by_stride = {1: nodes[0]}
    for stride, kernel in sorted(plan, key=lambda entry: entry[0]):
        node = by_stride.get(stride)
        if node is None:
            continue
        for spec in _specs(kernel):
            factor, out = spec.stride, node
            if factor > 1:
                if factor not in node.coarser:
                    node.coarser[factor] = _Node(len(nodes), node.stride * factor)
                    nodes.append(node.coarser[factor])
                out = node.coarser[factor]
                by_stride.setdefault(stride * factor, out)
            node.specs[spec] = out.index
    return nodes


def _specs(kernel: KernelSpec | Region | RegionSet) -> list[KernelSpec]:
    if isinstance(kernel, RegionSet):
        return [region.spec for region in kernel]
    return [kernel.spec if isinstance(kernel, Region) else kernel]


def _is_known(grid: VoxelGrid, node: _Node) -> bool:
    """Whether all that is asked of a grid and of its coarser ones has been found before."""
    return node.specs.keys() <= grid._maps.keys() and all(
        factor in grid._coarser and _is_known(grid._coarser[factor], child)
        for factor, child in node.coarser.items()
    )


def _take(arrays: Iterator[Tensor], count: int) -> list[Tensor]:
    return [next(arrays) for _ in range(count)]


def _keep_grid(parent: VoxelGrid, stride: int, coarser: Coarser) -> VoxelGrid:
    factor = stride // parent.stride
    if factor not in parent._coarser:
        parent._keep_coarser(factor, coarser)
    return parent._coarser[factor]


def _keep_map(grid: VoxelGrid, out: VoxelGrid, spec: KernelSpec, arrays: Iterator[Tensor]) -> None:
    tap_pairs, in_rows, out_rows, segments = _take(arrays, 4)
    kmap = KernelMap(
        spec,
        grid.num_voxels,
        out.num_voxels,
        in_rows,
        out_rows,
        segments,
        _tap_pairs=[tap_pairs],
    )
    if not spec.is_symmetric:
        kmap._keep_transposed(*_take(arrays, 3))
    grid._maps.setdefault(spec, kmap)
