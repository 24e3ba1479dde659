// Row lists from pair lists: for every output row its pairs as one run, in tap order.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// row_starts [rows + 1], zero on entry: the first pair of every row, and the end.
void count_rows(const MapPairs& map, int64_t num_rows, int64_t* row_starts,
                const Parallel& parallel);

// Writes taps and neighbors [row_starts[rows]]. cursor [rows] is a copy of row_starts and is used
// up.
void fill_rows(const MapPairs& map, int64_t* cursor, int32_t* taps, int32_t* neighbors,
               const Parallel& parallel);

}  // namespace pointseg::cpu
