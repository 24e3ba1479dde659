// Row lists from pair lists, see pointseg/ops/row_lists.py.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "stream.h"

namespace pointseg::cuda {

// counts [num_out]: pairs of each output row.
Status count_row_pairs(const MapPairs& map, int64_t num_out, int64_t* counts, Stream stream);

// Writes taps and neighbors. row_starts [num_out] is the exclusive sum of the counts.
Status fill_row_lists(const MapPairs& map, int64_t num_out, const int64_t* row_starts,
                      int32_t* taps, int32_t* neighbors, Stream stream);

}  // namespace pointseg::cuda
