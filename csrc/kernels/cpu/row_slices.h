// Sums over all rows of a grid, in an order that no number of threads changes: slices of rows, of
// which there are as many as the number of rows says, fill a buffer each, and the buffers are added
// in order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../parallel.h"

namespace pointseg::cpu {

constexpr int64_t kSliceRows = 4096;
constexpr int64_t kMaxSlices = 32;
constexpr int64_t kTaskRows = 256;

inline int64_t num_slices(int64_t num_rows) {
  return std::clamp<int64_t>((num_rows + kSliceRows - 1) / kSliceRows, 1, kMaxSlices);
}

// fn(slice, first row, one past the last row).
template <class F>
void over_slices(int64_t num_rows, const Parallel& parallel, const F& fn) {
  const int64_t slices = num_slices(num_rows);
  parallel.tasks(slices, [&](int64_t slice) {
    fn(slice, num_rows * slice / slices, num_rows * (slice + 1) / slices);
  });
}

// buffers [slices, size] into sum [size].
template <typename T>
void add_slices(const T* buffers, int64_t slices, int64_t size, T* sum) {
  std::fill(sum, sum + size, T(0));
  for (int64_t slice = 0; slice < slices; ++slice)
    for (int64_t i = 0; i < size; ++i) sum[i] += buffers[slice * size + i];
}

// fn(first row, one past the last row) over stretches of rows.
template <class F>
void over_rows(int64_t num_rows, const Parallel& parallel, const F& fn) {
  const int64_t tasks = (num_rows + kTaskRows - 1) / kTaskRows;
  parallel.tasks(tasks, [&](int64_t task) {
    fn(task * kTaskRows, std::min(num_rows, (task + 1) * kTaskRows));
  });
}

}  // namespace pointseg::cpu
