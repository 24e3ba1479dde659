// A region map as the codebook kernels take it.
#pragma once

#include "../../kernels/codebook.h"
#include "common.h"

namespace pointseg {

// Checks the arrays against each other; `weight_rows` is the table of one direction.
inline RegionLists region_lists(const Tensor& row_starts, const Tensor& taps,
                                const Tensor& neighbors, const Tensor& weight_rows,
                                const Tensor& entry_ends) {
  check_matrix(row_starts, "row_starts", 1, ScalarType::Long);
  check_matrix(taps, "taps", 1, ScalarType::Int);
  check_matrix(neighbors, "neighbors", 1, ScalarType::Int);
  check_matrix(weight_rows, "weight_rows", 1, ScalarType::Int);
  check_matrix(entry_ends, "entry_ends", 1, ScalarType::Int);
  STD_TORCH_CHECK(row_starts.size(0) > 0, "row_starts: expected rows + 1 elements, got none");
  STD_TORCH_CHECK(taps.size(0) == neighbors.size(0),
                  "taps and neighbors: expected equal lengths, got ", taps.size(0), " and ",
                  neighbors.size(0));
  return {cptr<int64_t>(row_starts),  cptr<int32_t>(taps),       cptr<int32_t>(neighbors),
          cptr<int32_t>(weight_rows), cptr<int32_t>(entry_ends), row_starts.size(0) - 1,
          entry_ends.size(0)};
}

}  // namespace pointseg
