// A region map in host memory, where its tables can be looked at.
#pragma once

#include "../region_lists.h"
#include "row_lists.h"

namespace pointseg {

// `weight_rows` is a table into weights of `num_weight_rows` rows.
inline RegionLists host_region_lists(const Tensor& row_starts, const Tensor& taps,
                                     const Tensor& neighbors, const Tensor& weight_rows,
                                     const Tensor& entry_ends, int64_t num_weight_rows) {
  host_row_lists(row_starts, taps, neighbors);
  const RegionLists lists = region_lists(row_starts, taps, neighbors, weight_rows, entry_ends);
  const int64_t listed = weight_rows.size(0);
  const int32_t* table = lists.weight_rows;
  for (int64_t tap = 0; tap < listed; ++tap)
    STD_TORCH_CHECK(table[tap] >= -1 && table[tap] < num_weight_rows, "weight_rows: tap ", tap,
                    " has row ", table[tap], " of ", num_weight_rows);
  const int32_t* ends = lists.entry_ends;
  for (int64_t entry = 0; entry < lists.num_entries; ++entry)
    STD_TORCH_CHECK(ends[entry] >= (entry ? ends[entry - 1] : 0) && ends[entry] <= listed,
                    "entry_ends: expected ascending numbers up to ", listed, ", got ", ends[entry]);
  return lists;
}

}  // namespace pointseg
