// Features of voxels read at points between them: a weighted sum over the corners of
// `../interpolate.h`.
#pragma once

#include <cstdint>

#include "../interpolate.h"
#include "../parallel.h"
#include "scatter_reduce.h"

namespace pointseg::cpu {

// query [num_queries, 4] to rows and weights [num_queries, corners]; corners is 8 (trilinear) or 1
// (nearest).
template <typename T>
void interpolate_corners(const VoxelSearch& grid, const T* query, int64_t num_queries,
                         int64_t corners, int32_t* rows, T* weights, const Parallel& parallel);

template <typename T>
struct InterpolateKernels {
  // out[q] = sum over corners in order of weights[q, j] * feats[rows[q, j]]; absent corners (-1)
  // count 0.
  void (*forward)(const T* feats, const int32_t* rows, const T* weights, T* out,
                  int64_t num_queries, int64_t corners, int64_t channels, const Parallel& parallel);
  // grad_feats[v] = sum over the corner slots e of voxel v, ascending, of weights[e] * grad_out[e /
  // corners]; `slots` groups the slots by voxel.
  void (*grad)(const T* grad_out, const T* weights, const RowGroups& slots, T* grad_feats,
               int64_t corners, int64_t channels, const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const InterpolateKernels<T>& interpolate_kernels();

}  // namespace pointseg::cpu
