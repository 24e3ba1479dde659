// Launcher of gather_neighbors: see pointseg/ops/gather_neighbors.py for the contract.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "stream.h"

namespace pointseg::cuda {

// Copies rows of `row_bytes` bytes of any type: out[o, k] = in[i] for the pairs (i, o) of tap k;
// out [num_out, taps, row_bytes] is zero on entry.
Status gather_neighbors(const void* in, void* out, int64_t row_bytes, const MapPairs& map,
                        Stream stream);

}  // namespace pointseg::cuda
