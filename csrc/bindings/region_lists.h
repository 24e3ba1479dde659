// A region map as the codebook kernels take it.
#pragma once

#include "../kernels/codebook.h"
#include "row_lists.h"

namespace pointseg {

// Checks the shapes against each other; `weight_rows` is the table of one direction. What the
// arrays say is not checked: `RegionMap` has made them.
inline RegionLists region_lists(const Tensor& row_starts, const Tensor& taps,
                                const Tensor& neighbors, const Tensor& weight_rows,
                                const Tensor& entry_ends) {
  const RowLists lists = row_lists(row_starts, taps, neighbors);
  check_matrix(weight_rows, "weight_rows", 1, ScalarType::Int);
  check_matrix(entry_ends, "entry_ends", 1, ScalarType::Int);
  return {lists, cptr<int32_t>(weight_rows), cptr<int32_t>(entry_ends), entry_ends.size(0)};
}

}  // namespace pointseg
