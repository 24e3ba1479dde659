"""Ground truth for the ops, written without anything from the package under test.

Two kinds of truth are used. *Dense*: features are spread over a box, torch's own `conv3d` and
`conv_transpose3d` do the arithmetic, and the result is read off at the output voxels; gradients
come from autograd through the dense operation. *Brute force*: a dictionary from coordinates to rows
and plain loops, for geometry, pooling, interpolation and voxelization.

Conventions (those of MinkowskiEngine, whose numbers are the goldens): coordinates are
(batch, x, y, z) in units of the finest voxel and multiples of the grid's stride; tap k of a kernel
reads in = out + stride_in * dilation * offset_k; a cube runs x fastest, a cross is the centre and
then +1..+r, -r..-1 along x, y and z.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import NamedTuple

import torch
import torch.nn.functional as F

Coord = tuple[int, int, int, int]


class Pair(NamedTuple):
    """Output row `out_row` reads input row `in_row` through tap `tap`."""

    tap: int
    in_row: int
    out_row: int


# ---------------------------------------------------------------------------------- geometry


def tap_offsets(size: int, shape: str = "cube") -> list[tuple[int, int, int]]:
    """Integer offsets (x, y, z) of a kernel's taps, in the order of its weights."""
    low = -(size // 2) if size % 2 else 0
    axis = range(low, low + size)
    if shape == "cube":
        return [(x, y, z) for z in axis for y in axis for x in axis]
    reach = size // 2
    arm = [*range(1, reach + 1), *range(-reach, 0)]
    offsets = [(0, 0, 0)]
    for dimension in range(3):
        for step in arm:
            offset = [0, 0, 0]
            offset[dimension] = step
            offsets.append((offset[0], offset[1], offset[2]))
    return offsets


def as_list(coords: torch.Tensor) -> list[Coord]:
    """Rows of an [N, 4] integer tensor as tuples."""
    return [(int(b), int(x), int(y), int(z)) for b, x, y, z in coords.tolist()]


def downsample(coords: torch.Tensor, cell: int) -> torch.Tensor:
    """Unique coordinates rounded down to multiples of `cell`, sorted by (batch, x, y, z)."""
    cells = {
        (b, x // cell * cell, y // cell * cell, z // cell * cell) for b, x, y, z in as_list(coords)
    }
    return torch.tensor(sorted(cells), dtype=torch.int32).reshape(-1, 4)


def kernel_pairs(
    in_coords: torch.Tensor,
    out_coords: torch.Tensor,
    in_stride: int,
    size: int,
    dilation: int = 1,
    shape: str = "cube",
) -> set[Pair]:
    """All pairs of a kernel map, by looking up every tap of every output voxel."""
    rows = {coord: row for row, coord in enumerate(as_list(in_coords))}
    step = in_stride * dilation
    pairs = set()
    for out_row, (b, x, y, z) in enumerate(as_list(out_coords)):
        for tap, (dx, dy, dz) in enumerate(tap_offsets(size, shape)):
            in_row = rows.get((b, x + step * dx, y + step * dy, z + step * dz))
            if in_row is not None:
                pairs.add(Pair(tap, in_row, out_row))
    return pairs


# ------------------------------------------------------------------------- dense convolution


def _dense_kernel(weight: torch.Tensor, size: int, shape: str) -> torch.Tensor:
    """Weights [K, ...] spread over a [size, size, size, ...] box (x, y, z); zeros elsewhere."""
    low = -(size // 2) if size % 2 else 0
    index = torch.tensor(tap_offsets(size, shape)) - low
    flat = (index[:, 0] * size + index[:, 1]) * size + index[:, 2]
    box = weight.new_zeros(size**3, *weight.shape[1:]).index_copy(0, flat, weight)
    return box.reshape(size, size, size, *weight.shape[1:])


def _box_origin(*coords: torch.Tensor, cell: int) -> torch.Tensor:
    """The lowest x, y, z of several coordinate lists, rounded down to a multiple of `cell`."""
    lowest = torch.cat(coords)[:, 1:].min(dim=0).values
    return torch.div(lowest, cell, rounding_mode="floor") * cell


def _scatter_dense(feats: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """feats [N, C] at index [N, 4] (batch, x, y, z) -> [B, C, X, Y, Z]."""
    extent = (index.max(dim=0).values + 1).tolist()
    box = feats.new_zeros(*extent, feats.shape[1])
    box = box.index_put((index[:, 0], index[:, 1], index[:, 2], index[:, 3]), feats)
    return box.permute(0, 4, 1, 2, 3)


def conv(
    feats: torch.Tensor,
    weight: torch.Tensor,
    in_coords: torch.Tensor,
    out_coords: torch.Tensor,
    in_stride: int,
    size: int,
    stride: int = 1,
    dilation: int = 1,
    shape: str = "cube",
    groups: int = 1,
) -> torch.Tensor:
    """Sparse convolution through `conv3d`; weight [K, C_in / groups, C_out] -> [N_out, C_out]."""
    in_coords, out_coords = in_coords.long(), out_coords.long()
    if len(in_coords) == 0 or len(out_coords) == 0:
        return feats.new_zeros(len(out_coords), weight.shape[2])
    cell = in_stride * stride
    origin = _box_origin(in_coords, out_coords, cell=cell)
    in_index, out_index = in_coords.clone(), out_coords.clone()
    in_index[:, 1:] = (in_coords[:, 1:] - origin) // in_stride
    out_index[:, 1:] = (out_coords[:, 1:] - origin) // cell
    box = _scatter_dense(feats, in_index)
    # Zeros on the low side put tap 0 where the lowest offset belongs; on the high side they only
    # have to be enough for the last output voxel.
    low_pad = dilation * (size // 2) if size % 2 else 0
    need = (out_index[:, 1:].max(dim=0).values * stride + dilation * (size - 1) + 1).tolist()
    pads: list[int] = []
    for have, wanted in zip(reversed(box.shape[2:]), reversed(need), strict=True):
        pads += [low_pad, max(0, wanted - have)]
    kernel = _dense_kernel(weight, size, shape).permute(4, 3, 0, 1, 2)
    result = F.conv3d(F.pad(box, pads), kernel, stride=stride, dilation=dilation, groups=groups)
    b, x, y, z = out_index.unbind(1)
    return result.permute(0, 2, 3, 4, 1)[b, x, y, z]


def conv_transpose(
    feats: torch.Tensor,
    weight: torch.Tensor,
    coarse_coords: torch.Tensor,
    fine_coords: torch.Tensor,
    fine_stride: int,
    size: int,
    stride: int,
    dilation: int = 1,
    shape: str = "cube",
) -> torch.Tensor:
    """Transposed convolution through `conv_transpose3d`, read off at the fine voxels."""
    coarse_coords, fine_coords = coarse_coords.long(), fine_coords.long()
    if len(coarse_coords) == 0 or len(fine_coords) == 0:
        return feats.new_zeros(len(fine_coords), weight.shape[2])
    cell = fine_stride * stride
    origin = _box_origin(coarse_coords, fine_coords, cell=cell)
    coarse_index, fine_index = coarse_coords.clone(), fine_coords.clone()
    coarse_index[:, 1:] = (coarse_coords[:, 1:] - origin) // cell
    fine_index[:, 1:] = (fine_coords[:, 1:] - origin) // fine_stride
    box = _scatter_dense(feats, coarse_index)
    kernel = _dense_kernel(weight, size, shape).permute(3, 4, 0, 1, 2)
    result = F.conv_transpose3d(box, kernel, stride=stride, dilation=dilation)
    # The dense result begins where the lowest offset of the coarse voxel at the origin lands.
    shift = dilation * (size // 2) if size % 2 else 0
    fine_index[:, 1:] += shift
    need = (fine_index[:, 1:].max(dim=0).values + 1).tolist()
    pads: list[int] = []
    for have, wanted in zip(reversed(result.shape[2:]), reversed(need), strict=True):
        pads += [0, max(0, wanted - have)]
    batches = int(fine_index[:, 0].max()) + 1
    result = F.pad(result, [*pads, 0, 0, 0, max(0, batches - result.shape[0])])
    b, x, y, z = fine_index.unbind(1)
    return result.permute(0, 2, 3, 4, 1)[b, x, y, z]


def depthwise(
    feats: torch.Tensor,
    weight: torch.Tensor,
    in_coords: torch.Tensor,
    out_coords: torch.Tensor,
    in_stride: int,
    size: int,
    stride: int = 1,
    dilation: int = 1,
    shape: str = "cube",
) -> torch.Tensor:
    """Depthwise convolution, weight [K, C], as a dense convolution with one group a channel."""
    return conv(
        feats,
        weight[:, None, :],
        in_coords,
        out_coords,
        in_stride,
        size,
        stride,
        dilation,
        shape,
        groups=feats.shape[1],
    )


# ------------------------------------------------------------------------- pooling, gathering


def pool(feats: torch.Tensor, pairs: set[Pair], num_out: int, reduce: str) -> torch.Tensor:
    """Max, mean or sum over the voxels present; 0 where none is. Ties of max: lowest tap."""
    members: list[list[int]] = [[] for _ in range(num_out)]
    for pair in sorted(pairs):
        members[pair.out_row].append(pair.in_row)
    rows = []
    for inside in members:
        if not inside:
            rows.append(feats.new_zeros(feats.shape[1]))
            continue
        values = feats[torch.tensor(inside)]
        if reduce == "max":
            winner = values.detach().argmax(dim=0)
            rows.append(values.gather(0, winner[None])[0])
        else:
            rows.append(values.sum(dim=0) if reduce == "sum" else values.mean(dim=0))
    return torch.stack(rows) if rows else feats.new_zeros(0, feats.shape[1])


def segment(src: torch.Tensor, index: list[int], num_out: int, reduce: str) -> torch.Tensor:
    """Rows of `src` [P, C] reduced by bin; empty bins are 0. Ties of max and min: lowest row."""
    rows = []
    for target in range(num_out):
        inside = [row for row, where in enumerate(index) if where == target]
        if not inside:
            rows.append(src.new_zeros(src.shape[1]))
            continue
        values = src[torch.tensor(inside)]
        if reduce in ("max", "min"):
            key = values.detach() if reduce == "max" else -values.detach()
            rows.append(values.gather(0, key.argmax(dim=0)[None])[0])
        else:
            rows.append(values.sum(dim=0) if reduce == "sum" else values.mean(dim=0))
    return torch.stack(rows) if rows else src.new_zeros(0, src.shape[1])


def gather(feats: torch.Tensor, pairs: set[Pair], num_out: int, num_taps: int) -> torch.Tensor:
    """[N_out, K, C] neighbours, zeros where absent."""
    out = [[feats.new_zeros(feats.shape[1])] * num_taps for _ in range(num_out)]
    for pair in pairs:
        out[pair.out_row][pair.tap] = feats[pair.in_row]
    if num_out == 0:
        return feats.new_zeros(0, num_taps, feats.shape[1])
    return torch.stack([torch.stack(row) for row in out])


# ------------------------------------------------------------------------------ interpolation


def interpolate(
    feats: torch.Tensor, coords: torch.Tensor, stride: int, query: torch.Tensor, mode: str
) -> torch.Tensor:
    """Features that sit at their voxels' coordinates, read at query [Q, 4] (batch, x, y, z).

    Trilinear: the corners of the surrounding cell weighted by the product of distances; a corner
    without a voxel counts as zeros. Nearest: the voxel at the nearest lattice point, half up.
    """
    rows = {coord: row for row, coord in enumerate(as_list(coords))}
    out = []
    for b, *point in query.tolist():
        total = feats.new_zeros(feats.shape[1])
        if mode == "nearest":
            x, y, z = (math.floor(value / stride + 0.5) * stride for value in point)
            row = rows.get((int(b), x, y, z))
            out.append(total if row is None else feats[row])
            continue
        low = [math.floor(value / stride) for value in point]
        part = [value / stride - base for value, base in zip(point, low, strict=True)]
        for corner in itertools.product((0, 1), repeat=3):
            x, y, z = ((base + up) * stride for base, up in zip(low, corner, strict=True))
            row = rows.get((int(b), x, y, z))
            if row is not None:
                weight = math.prod(p if up else 1 - p for p, up in zip(part, corner, strict=True))
                total = total + weight * feats[row]
        out.append(total)
    return torch.stack(out) if out else feats.new_zeros(0, feats.shape[1])


# ------------------------------------------------------------------------------- voxelization


class Voxels(NamedTuple):
    """Sorted unique coordinates and, for each, the points that fall into it in their own order."""

    coords: list[Coord]
    members: list[list[int]]


def voxelize(coords: torch.Tensor) -> Voxels:
    """Group the rows of integer coordinates [P, 4]."""
    groups: dict[Coord, list[int]] = {}
    for row, coord in enumerate(as_list(coords)):
        groups.setdefault(coord, []).append(row)
    unique = sorted(groups)
    return Voxels(unique, [groups[coord] for coord in unique])


def majority(labels: list[int], ignore: int) -> int:
    """The most frequent label but `ignore`, the lowest of several; `ignore` where none is."""
    counts = Counter(label for label in labels if label != ignore)
    if not counts:
        return ignore
    return min(counts, key=lambda label: (-counts[label], label))
