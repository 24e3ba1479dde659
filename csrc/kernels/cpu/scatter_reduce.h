// Rows of a matrix reduced by bin, over rows grouped by `group_rows.h`.
//
// A bin of more than kChunkRows rows is reduced in chunks of that many and the chunks are joined in
// order: rounding stays small in bins of a whole scene, several threads share one bin, and the
// order of the sum depends on sizes only.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "../reduce.h"

namespace pointseg::cpu {

constexpr int64_t kChunkRows = 512;

struct RowGroups {
  const int64_t* order;   // rows, grouped by bin
  const int64_t* starts;  // [num_bins + 1]
  int64_t num_bins;
};

// Number of chunks in the bins that have more than one.
int64_t count_chunks(const RowGroups& groups);

template <typename T>
struct ScatterKernels {
  // out [num_bins, channels]: sum or mean of src rows, 0 for an empty bin. chunk_out holds
  // count_chunks() rows.
  void (*sum)(const T* src, T* out, T* chunk_out, int64_t channels, const RowGroups& groups,
              bool mean, const Parallel& parallel);
  // The largest or smallest value, and in winner [num_bins, channels] the row it came from: the
  // lowest row among equals, -1 for an empty bin. chunk_winner holds count_chunks() rows.
  void (*extreme)(const T* src, T* out, int64_t* winner, int64_t* chunk_winner, int64_t channels,
                  const RowGroups& groups, bool max, const Parallel& parallel);
  // grad_src[p] = grad_out[index[p]], divided by the size of the bin when counts is not null.
  void (*sum_grad)(const T* grad_out, const int64_t* index, const int64_t* counts, T* grad_src,
                   int64_t num_rows, int64_t channels, const Parallel& parallel);
  // grad_src[p, c] = grad_out[b, c] where winner[b, c] == p with b = index[p], else 0.
  void (*extreme_grad)(const T* grad_out, const int64_t* index, const int64_t* winner, T* grad_src,
                       int64_t num_rows, int64_t channels, const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const ScatterKernels<T>& scatter_kernels();

}  // namespace pointseg::cpu
