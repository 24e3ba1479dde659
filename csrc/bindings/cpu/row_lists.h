// Row lists in host memory, where their ends can be looked at.
#pragma once

#include "../row_lists.h"

namespace pointseg {

inline RowLists host_row_lists(const Tensor& row_starts, const Tensor& taps,
                               const Tensor& neighbors) {
  const RowLists lists = row_lists(row_starts, taps, neighbors);
  const int64_t* starts = lists.row_starts;
  STD_TORCH_CHECK(starts[0] == 0 && starts[lists.num_rows] == taps.size(0),
                  "row_starts: expected 0 to ", taps.size(0), ", got ", starts[0], " to ",
                  starts[lists.num_rows]);
  return lists;
}

}  // namespace pointseg
