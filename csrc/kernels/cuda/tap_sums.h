// Gradients of weights that are one number a tap and channel: sums over the pairs of a tap,
//
//   grad_weight[k, c] = sum over pairs (row, neighbor) of k of
//                       choice[row, entry, head] * grads[row, entry, c] * values[neighbor, entry,
//                       c]
//
// without atomics: every slice of rows fills a buffer, and the buffers are added in order.
#pragma once

#include <algorithm>

#include "../codebook.h"
#include "lanes.h"

namespace pointseg::cuda {

template <typename T>
struct TapSums {
  RegionLists lists;     // without a table of weight rows: a tap is a weight row, all of one entry
  const T* values;       // [., value_groups, channels]
  int64_t value_groups;  // the number of entries, or 1
  const T* grads;        // [rows, grad_groups, channels]
  int64_t grad_groups;
  Choices<T> choice;  // [rows, entries, heads], or none: all 1
  int64_t channels;
  int64_t num_weight_rows;
};

// Buffers for so many rows; sizes alone say how many.
inline int64_t num_tap_slices(int64_t num_rows) {
  constexpr int64_t kSliceRows = 512, kMostSlices = 512;
  return std::clamp<int64_t>(num_blocks_for(num_rows, kSliceRows), 1, kMostSlices);
}

// Writes grad_weight [weight rows, channels]; `buffers` [num_tap_slices, weight rows, channels] is
// scratch.
template <typename T>
Status add_by_tap(const TapSums<T>& sums, Sum<T>* buffers, Sum<T>* grad_weight, Stream stream);

}  // namespace pointseg::cuda
