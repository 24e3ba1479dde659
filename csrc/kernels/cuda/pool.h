// Launchers of pool and of sums over neighbours: see pointseg/ops/pool.py for the contract.
//
// `table` is room for table_size(map) numbers.
#pragma once

#include "neighbor_table.h"
#include "numbers.h"

namespace pointseg::cuda {

// What is added up for an output row: over the taps k that have a voxel i, in order, the row at
// in + i * row_stride + k * tap_stride.
template <typename T>
struct NeighborSum {
  const T* in;
  int64_t row_stride, tap_stride, channels;
  const int32_t* divisors;  // of each row i; null: 1
  bool mean;                // the sum is divided by the number of voxels
  T* out;                   // [num_out, channels]; 0 where there are none
  int32_t* counts;          // null, or for the number of voxels of each output row
};

template <typename T>
Status sum_neighbors(const NeighborSum<T>& sum, const MapPairs& map, int64_t num_out,
                     int32_t* table, Stream stream);

// The largest of in[i] channel by channel, and in winner [num_out, channels] the row i it came
// from: that of the lowest tap among equals. Without voxels out is 0 and winner -1.
template <typename T>
Status max_neighbors(const T* in, int64_t channels, const MapPairs& map, int64_t num_out,
                     int32_t* table, T* out, int32_t* winner, Stream stream);

// Over the swapped map (its input rows are o, its output rows i): grad_in[i, c] is the sum of
// grad_out[o, c] where winner[o, c] == i.
template <typename T>
Status max_neighbors_grad(const T* grad_out, const int32_t* winner, int64_t channels,
                          const MapPairs& swapped, int64_t num_in, int32_t* table, T* grad_in,
                          Stream stream);

}  // namespace pointseg::cuda
