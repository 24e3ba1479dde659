// Launchers of interpolate: see pointseg/ops/interpolate.py for the contract. The gradient is a sum
// into bins, see `scatter_reduce.h`.
#pragma once

#include "../interpolate.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// query [num_queries, 4] to rows and weights [num_queries, corners]; corners is 8 (trilinear) or 1
// (nearest).
template <typename Q>
Status interpolate_corners(const VoxelSearch& grid, const Q* query, int64_t num_queries,
                           int64_t corners, int32_t* rows, Q* weights, Stream stream);

// out[q] = sum over corners in order of weights[q, j] * feats[rows[q, j]]; absent corners (-1)
// count 0.
template <typename T>
Status interpolate(const T* feats, const int32_t* rows, const Sum<T>* weights, int64_t num_queries,
                   int64_t corners, int64_t channels, T* out, Stream stream);

}  // namespace pointseg::cuda
