// Row lists as the kernels take them.
#pragma once

#include "../kernels/row_lists.h"
#include "common.h"

namespace pointseg {

// Checks the shapes against each other. What the arrays say is not checked, pair by pair: the op
// `row_lists` has done that.
inline RowLists row_lists(const Tensor& row_starts, const Tensor& taps, const Tensor& neighbors) {
  check_matrix(row_starts, "row_starts", 1, ScalarType::Long);
  check_matrix(taps, "taps", 1, ScalarType::Int);
  check_matrix(neighbors, "neighbors", 1, ScalarType::Int);
  STD_TORCH_CHECK(row_starts.size(0) > 0, "row_starts: expected rows + 1 elements, got none");
  STD_TORCH_CHECK(taps.size(0) == neighbors.size(0),
                  "taps and neighbors: expected equal lengths, got ", taps.size(0), " and ",
                  neighbors.size(0));
  return {cptr<int64_t>(row_starts), cptr<int32_t>(taps), cptr<int32_t>(neighbors),
          row_starts.size(0) - 1};
}

}  // namespace pointseg
