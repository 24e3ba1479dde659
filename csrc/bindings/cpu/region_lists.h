// A region map as the codebook kernels take it.
#pragma once

#include "../../kernels/codebook.h"
#include "row_lists.h"

namespace pointseg {

// Checks the arrays against each other; `weight_rows` is the table of one direction, into weights
// of `num_weight_rows` rows.
inline RegionLists region_lists(const Tensor& row_starts, const Tensor& taps,
                                const Tensor& neighbors, const Tensor& weight_rows,
                                const Tensor& entry_ends, int64_t num_weight_rows) {
  const RowLists lists = row_lists(row_starts, taps, neighbors);
  check_matrix(weight_rows, "weight_rows", 1, ScalarType::Int);
  check_matrix(entry_ends, "entry_ends", 1, ScalarType::Int);
  const int64_t listed = weight_rows.size(0);
  const int32_t* table = cptr<int32_t>(weight_rows);
  for (int64_t tap = 0; tap < listed; ++tap)
    STD_TORCH_CHECK(table[tap] >= -1 && table[tap] < num_weight_rows, "weight_rows: tap ", tap,
                    " has row ", table[tap], " of ", num_weight_rows);
  const int32_t* ends = cptr<int32_t>(entry_ends);
  for (int64_t entry = 0; entry < entry_ends.size(0); ++entry)
    STD_TORCH_CHECK(ends[entry] >= (entry ? ends[entry - 1] : 0) && ends[entry] <= listed,
                    "entry_ends: expected ascending numbers up to ", listed, ", got ", ends[entry]);
  return {lists, cptr<int32_t>(weight_rows), cptr<int32_t>(entry_ends), entry_ends.size(0)};
}

}  // namespace pointseg
