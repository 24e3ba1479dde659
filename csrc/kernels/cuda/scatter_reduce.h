// Launchers of scatter_reduce and its gradient: see pointseg/ops/scatter_reduce.py for the
// contract.
#pragma once

#include "group_rows.h"
#include "numbers.h"

namespace pointseg::cuda {

// Rows of the buffer `places` below, for so many rows to reduce.
int64_t scatter_places(int64_t num_rows);

// What is added up into bins: for every grouped row p, weights[p] * src[p / divisor].
template <typename T>
struct BinSum {
  const T* src;
  const Sum<T>* weights;  // null: 1
  int64_t divisor, channels;
  bool mean;        // the sum is divided by the number of rows
  Sum<T>* places;   // [scatter_places(num_rows), channels]
  T* out;           // [num_bins, channels], 0 for an empty bin
  int64_t* counts;  // null, or for the number of rows of each bin
};

template <typename T>
Status sum_bins(const BinSum<T>& sum, const RowGroups& groups, Stream stream);

// The largest or smallest of src, and in winner [num_bins, channels] the row it came from: the
// lowest row among equals, -1 for an empty bin. places [scatter_places(num_rows), channels].
template <typename T>
Status extreme_bins(const T* src, int64_t channels, bool max, const RowGroups& groups,
                    int32_t* places, T* out, int64_t* winner, Stream stream);

// Gradients. Rows whose index names no bin get zeros.
// grad_src[p] = grad_out[index[p]], divided by the size of the bin where counts is not null.
template <typename T>
Status sum_bins_grad(const T* grad_out, const int64_t* index, const int64_t* counts,
                     int64_t num_rows, int64_t num_bins, int64_t channels, T* grad_src,
                     Stream stream);
// grad_src[p, c] = grad_out[b, c] where winner[b, c] == p with b = index[p], else 0.
template <typename T>
Status extreme_bins_grad(const T* grad_out, const int64_t* index, const int64_t* winner,
                         int64_t num_rows, int64_t num_bins, int64_t channels, T* grad_src,
                         Stream stream);

}  // namespace pointseg::cuda
