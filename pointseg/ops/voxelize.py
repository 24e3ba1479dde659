"""Points to voxels: unique integer coordinates, who fell where, and reductions over a voxel.

Contract
--------
* A point falls into voxel ``floor(xyz / voxel_size)``, computed in the dtype of the points.
* Voxels come out sorted by (batch, x, y, z), each once, whatever the order of the points.
* Inside a voxel, points keep their input order: "first" is the one with the lowest row.
* Coordinates must lie in +-63,488 voxels and batches in 0..4095; beyond that is an error, never a
  wrap.
* Integers in, integers out: nothing here is differentiable but the mean of `voxel_reduce`.
* The result is the same on every device, for any number of threads. No points give no voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pointseg.ops._common import native, register
from pointseg.ops.scatter_reduce import scatter_reduce

MAX_COORD = 63488
MAX_BATCH = 4095

Reduction = Literal["first", "mean", "majority"]


@dataclass(frozen=True, eq=False)
class Voxelization:
    """P points sorted into N voxels.

    Attributes:
        coords: int32 [N, 4], unique (batch, x, y, z), ascending.
        keys: int64 [N], the same coordinates packed, ascending.
        inverse: int64 [P], the voxel of each point.
        order: int64 [P], points grouped by voxel, in input order inside a voxel.
        starts: int64 [N + 1]; the points of voxel v are ``order[starts[v]:starts[v + 1]]``.
    """

    coords: Tensor
    keys: Tensor
    inverse: Tensor
    order: Tensor
    starts: Tensor

    @property
    def num_voxels(self) -> int:
        return int(self.coords.shape[0])

    @property
    def num_points(self) -> int:
        return int(self.inverse.shape[0])

    @property
    def counts(self) -> Tensor:
        """Points per voxel, int64 [N]."""
        return self.starts[1:] - self.starts[:-1]


def check_coords(coords: Tensor) -> None:
    if not isinstance(coords, Tensor):
        raise TypeError(f"coords: expected a tensor, got {type(coords).__name__}")
    if coords.dtype != torch.int32:
        raise TypeError(f"coords: expected int32, got {coords.dtype}")
    if coords.dim() != 2 or coords.shape[1] != 4:
        raise ValueError(
            f"coords: expected shape [N, 4] (batch, x, y, z), got {list(coords.shape)}"
        )


def _check_range(coords: Tensor) -> None:
    """Raise ValueError for the first axis that leaves the range of a packed key."""
    if coords.shape[0] == 0 or torch.compiler.is_compiling():
        return  # a compiled graph relies on the check of the operator itself
    # The extremes of all values at once are a tenth of the work; which axis it is matters only if
    # one is out of range. Batch indices have bounds of their own.
    least, most = _extremes(coords)
    first, last = _extremes(coords[:, 0])
    if least >= -MAX_COORD and most <= MAX_COORD and first >= 0 and last <= MAX_BATCH:
        return
    low, high = coords.amin(0).tolist(), coords.amax(0).tolist()
    for axis, name in enumerate(("batch index", "x", "y", "z")):
        least, most = (0, MAX_BATCH) if axis == 0 else (-MAX_COORD, MAX_COORD)
        if low[axis] < least or high[axis] > most:
            value = low[axis] if low[axis] < least else high[axis]
            raise ValueError(
                f"coords: {name} = {value} is outside [{least}, {most}]; use a larger voxel size, "
                "or move the scene to the origin"
            )


def voxel_keys(coords: Tensor) -> Tensor:
    """Pack int32 [N, 4] coordinates into int64 [N] keys that compare as the coordinates do.

    Raises:
        ValueError: a coordinate is out of range; names axis and value.
    """
    check_coords(coords)
    _check_range(coords)
    keys: Tensor = native("voxel_keys")(coords.contiguous())
    return keys


def sort_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Sort int64 [N] keys; returns (sorted, order) with ``keys[order] == sorted``, stable."""
    sorted_keys, order = native("sort_keys")(keys.contiguous())
    return sorted_keys, order


def voxelize(coords: Tensor) -> Voxelization:
    """Group integer coordinates, int32 [P, 4] (batch, x, y, z), into unique voxels.

    Raises:
        ValueError: a coordinate is out of range; names axis and value.
    """
    check_coords(coords)
    _check_range(coords)
    return Voxelization(*native("voxelize")(coords.contiguous()))


def voxelize_points(xyz: Tensor, voxel_size: float, batch: Tensor | None = None) -> Voxelization:
    """Group points into the voxels of a grid whose corner is the origin.

    Args:
        xyz: float [P, 3], in metres or whatever unit `voxel_size` has.
        voxel_size: edge of a voxel, > 0.
        batch: int [P], scene of each point; all 0 where it is not given.

    Raises:
        ValueError: a point is not finite, or too far from the origin for this voxel size.
    """
    if xyz.dim() != 2 or xyz.shape[1] != 3 or not xyz.is_floating_point():
        raise ValueError(f"xyz: expected float [P, 3], got {xyz.dtype} {list(xyz.shape)}")
    if not 0 < voxel_size < math.inf:
        raise ValueError(f"voxel_size: expected a finite length above 0, got {voxel_size}")
    if batch is not None:
        _check_batch(batch, xyz.shape[0])
    cells = torch.floor(xyz / voxel_size)
    _check_cells(xyz, cells, voxel_size)
    coords = torch.empty(xyz.shape[0], 4, dtype=torch.int32, device=xyz.device)
    coords[:, 0] = 0 if batch is None else batch
    coords[:, 1:] = cells
    return Voxelization(*native("voxelize")(coords))


def _extremes(values: Tensor) -> tuple[float, float]:
    low, high = values.aminmax()
    return low.item(), high.item()


def _check_batch(batch: Tensor, num_points: int) -> None:
    if batch.is_floating_point() or batch.shape != (num_points,):
        raise ValueError(
            f"batch: expected int [{num_points}], got {batch.dtype} {list(batch.shape)}"
        )
    if num_points and not 0 <= int(batch.min()) <= int(batch.max()) <= MAX_BATCH:
        raise ValueError(
            f"batch: expected 0..{MAX_BATCH}, got {int(batch.min())}..{int(batch.max())}"
        )


def _check_cells(xyz: Tensor, cells: Tensor, voxel_size: float) -> None:
    if cells.shape[0] == 0:
        return
    least, most = _extremes(cells)
    if least >= -MAX_COORD and most <= MAX_COORD:  # NaN fails both
        return
    low, high = cells.amin(0).tolist(), cells.amax(0).tolist()
    for axis, name in enumerate("xyz"):
        if low[axis] >= -MAX_COORD and high[axis] <= MAX_COORD:
            continue
        bad = ~(cells[:, axis].abs() <= MAX_COORD)
        value = xyz[bad, axis][0].item()
        raise ValueError(
            f"xyz: {name} = {value:g} with voxel size {voxel_size:g} is outside the "
            f"+-{MAX_COORD} voxels that a grid can hold ({int(bad.sum())} points): remove stray "
            "points, move the scene to the origin or use larger voxels"
        )


def voxel_reduce(
    values: Tensor,
    voxelization: Voxelization,
    reduce: Reduction = "mean",
    ignore_index: int = -1,
) -> Tensor:
    """Reduce one value per point to one per voxel.

    Args:
        values: [P, C] or [P].
        voxelization: where the points fell.
        reduce: ``"first"``: the point with the lowest row; ``"mean"``: over all points, float
            only, differentiable; ``"majority"``: the most frequent label of int values [P], the
            lowest of several, `ignore_index` where a voxel holds nothing else. Other negative
            labels are refused.

    Returns:
        [N, C] or [N], dtype of `values`.
    """
    if values.shape[:1] != (voxelization.num_points,):
        raise ValueError(
            f"values: expected {voxelization.num_points} rows, one per point, "
            f"got {list(values.shape)}"
        )
    if reduce == "first":
        return values[voxelization.order[voxelization.starts[:-1]]]
    if reduce == "mean":
        if not values.is_floating_point():
            raise TypeError(f"values: a mean needs a floating-point dtype, got {values.dtype}")
        columns = values if values.dim() == 2 else values[:, None]
        mean = scatter_reduce(columns, voxelization.inverse, voxelization.num_voxels, "mean")
        return mean if values.dim() == 2 else mean[:, 0]
    if reduce == "majority":
        return _majority(values, voxelization, ignore_index)
    raise ValueError(f"reduce: expected 'first', 'mean' or 'majority', got {reduce!r}")


def _majority(labels: Tensor, voxelization: Voxelization, ignore_index: int) -> Tensor:
    if labels.dim() != 1 or labels.is_floating_point():
        raise ValueError(
            f"values: a majority needs int [P], got {labels.dtype} {list(labels.shape)}"
        )
    if labels.numel() == 0:
        return labels.clone()
    valid = labels != ignore_index
    low, high = (int(bound) for bound in labels.masked_fill(~valid, 0).aminmax())
    if low < 0:
        raise ValueError(f"values: label {low} is negative and not ignore_index ({ignore_index})")
    # Most voxels hold one label alone, that of their first point; only the others need votes.
    inverse = voxelization.inverse
    result = voxel_reduce(labels, voxelization, "first")
    mixed = torch.zeros(voxelization.num_voxels, dtype=torch.bool, device=labels.device)
    mixed[inverse[labels != result[inverse]]] = True
    row, num_mixed, num_labels = mixed.cumsum(0) - 1, int(mixed.sum()), high + 1
    voter = mixed[inverse] & valid
    ballot = row[inverse[voter]] * num_labels + labels[voter]
    votes = torch.bincount(ballot, minlength=num_mixed * num_labels).view(num_mixed, num_labels)
    # argmax() may name any of several equal maxima: take the lowest label.
    winner = (votes == votes.amax(1, keepdim=True)).to(torch.uint8).argmax(1)
    result[mixed] = winner.to(labels.dtype)
    return result


def voxelize_reference(coords: Tensor) -> Voxelization:
    """The same as :func:`voxelize`, in plain torch."""
    voxels, inverse, counts = torch.unique(coords, dim=0, return_inverse=True, return_counts=True)
    order = torch.sort(inverse, stable=True).indices
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Voxelization(voxels, voxel_keys(voxels), inverse, order, starts)


def _voxel_keys_fake(coords: Tensor) -> Tensor:
    return coords.new_empty(coords.shape[0], dtype=torch.int64)


def _sort_keys_fake(keys: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(keys), torch.empty_like(keys)


def _voxelize_fake(coords: Tensor) -> tuple[Tensor, ...]:
    num_voxels = torch.library.get_ctx().new_dynamic_size()

    def indices(size: int | torch.SymInt) -> Tensor:
        return coords.new_empty(size, dtype=torch.int64)

    num_points = coords.shape[0]
    voxels = coords.new_empty(num_voxels, 4)
    return (
        voxels,
        indices(num_voxels),
        indices(num_points),
        indices(num_points),
        indices(num_voxels + 1),
    )


register("voxel_keys", _voxel_keys_fake)
register("sort_keys", _sort_keys_fake)
register("voxelize", _voxelize_fake)
