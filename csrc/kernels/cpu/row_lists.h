// Row lists from pair lists: for every output row its pairs as one run, in tap order.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// Writes row_starts [num_out + 1]: the first pair of every row, and the end. Returns -1, or the
// first pair of a block whose output row is not of that block, or whose input row is not one of
// `num_in`; then row_starts is not to be used.
int64_t count_rows(const MapPairs& map, int64_t num_in, int64_t num_out, int64_t* row_starts,
                   const Parallel& parallel);

// Writes taps and neighbors [row_starts[num_out]].
void fill_rows(const MapPairs& map, int64_t num_out, const int64_t* row_starts, int32_t* taps,
               int32_t* neighbors, const Parallel& parallel);

}  // namespace pointseg::cpu
