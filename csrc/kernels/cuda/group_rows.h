// A stable sort of the rows of an index array by the bin they name.
#pragma once

#include <cstdint>

#include "stream.h"

namespace pointseg::cuda {

// The rows p with index[p] == b are order[starts[b] : starts[b + 1]], ascending. Rows whose index
// is outside [0, num_bins) belong to no bin: they come last.
struct RowGroups {
  const int64_t* bins;    // [num_rows], of the sorted rows; num_bins: none
  const int32_t* order;   // [num_rows]
  const int64_t* starts;  // [num_bins + 1]
  int64_t num_rows, num_bins;
};

// Memory of the same lengths: bins and rows before and after they are sorted. `scratch` is that of
// `sort_pairs` for num_rows.
struct GroupMemory {
  int64_t *unsorted_bins, *bins;
  int32_t *unsorted_order, *order;
  int64_t* starts;
  void* scratch;
  int64_t scratch_bytes;
};

template <typename Index>
Status group_rows(const Index* index, int64_t num_rows, int64_t num_bins, const GroupMemory& memory,
                  Stream stream);

}  // namespace pointseg::cuda
