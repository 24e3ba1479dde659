// Which voxels surround a query point, and with which weights; shared by the CPU and CUDA loops.
#pragma once

#include <cmath>

#include "packing.h"

namespace pointseg {

// The voxels of one grid: sorted keys, and the row of each (null where rows are sorted themselves).
struct VoxelSearch {
  const int64_t* keys;
  const int32_t* order;
  int64_t num_voxels;
  int64_t stride;
};

// First position whose key is not below `key`.
POINTSEG_HD int64_t lower_bound_key(const VoxelSearch& grid, int64_t key) {
  int64_t begin = 0, count = grid.num_voxels;
  while (count > 0) {
    const int64_t half = count / 2;
    if (grid.keys[begin + half] < key) {
      begin += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return begin;
}

POINTSEG_HD int32_t row_at(const VoxelSearch& grid, int64_t position, int64_t key) {
  if (position >= grid.num_voxels || grid.keys[position] != key) return -1;
  return grid.order == nullptr ? static_cast<int32_t>(position) : grid.order[position];
}

// query (batch, x, y, z) in finest-voxel units to the lattice point below it, and how far above it
// lies in units of the stride. False where no voxel can be near: not finite, not a batch, outside
// the keys.
template <typename Q>
POINTSEG_HD bool lattice_cell(const Q* query, int64_t stride, double shift, int32_t* low,
                              double* part) {
  const double batch = static_cast<double>(query[0]);
  if (!(batch >= 0 && batch <= kMaxBatch) || batch != std::floor(batch)) return false;
  low[0] = static_cast<int32_t>(batch);
  for (int axis = 0; axis < 3; ++axis) {
    const double cell = static_cast<double>(query[axis + 1]) / static_cast<double>(stride) + shift;
    const double base = std::floor(cell);
    const double coord = base * static_cast<double>(stride);
    if (!(coord >= -kMaxCoord - kMaxStride && coord <= kMaxCoord)) return false;
    low[axis + 1] = static_cast<int32_t>(coord);
    part[axis] = cell - base;
  }
  return true;
}

// The eight corners of the lattice cell around a query, x slowest: rows[j] (-1: no voxel there) and
// the product of distances weights[j].
template <typename Q, typename W>
POINTSEG_HD void trilinear_corners(const VoxelSearch& grid, const Q* query, int32_t* rows,
                                   W* weights) {
  int32_t low[4];
  double part[3];
  if (!lattice_cell(query, grid.stride, 0.0, low, part)) {
    for (int corner = 0; corner < 8; ++corner) {
      rows[corner] = -1;
      weights[corner] = W(0);
    }
    return;
  }
  const int64_t low_key = pack_key(low);
  for (int xy = 0; xy < 4; ++xy) {
    const int up_x = xy >> 1, up_y = xy & 1;
    // Voxels lie on multiples of the stride, so the upper corner of a column is the lower one's
    // neighbour among the sorted keys.
    const int64_t key = low_key + key_delta(up_x * grid.stride, up_y * grid.stride, 0);
    int64_t position = lower_bound_key(grid, key);
    const double flat = (up_x ? part[0] : 1 - part[0]) * (up_y ? part[1] : 1 - part[1]);
    for (int up_z = 0; up_z < 2; ++up_z) {
      const int corner = 2 * xy + up_z;
      rows[corner] = row_at(grid, position, key + up_z * grid.stride);
      weights[corner] = static_cast<W>(flat * (up_z ? part[2] : 1 - part[2]));
      if (up_z == 0 && rows[corner] >= 0) ++position;
    }
  }
}

// The voxel at the nearest lattice point, half a stride upward counted as nearer.
template <typename Q, typename W>
POINTSEG_HD void nearest_corner(const VoxelSearch& grid, const Q* query, int32_t* rows,
                                W* weights) {
  int32_t low[4];
  double part[3];
  rows[0] = -1;
  weights[0] = W(1);
  if (!lattice_cell(query, grid.stride, 0.5, low, part)) return;
  const int64_t key = pack_key(low);
  rows[0] = row_at(grid, lower_bound_key(grid, key), key);
}

}  // namespace pointseg
