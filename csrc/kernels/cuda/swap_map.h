// Kernel maps turned around, see pointseg/ops/kernel_map.py.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "stream.h"

namespace pointseg::cuda {

// For each pair the group that it is in once input and output are swapped: group[i] = (block of its
// input row) * taps + tap, or the number of groups where the map leaves the pair out; pairs[i] = i.
// Sorted by group, stably, pairs come in the order of the swapped map.
Status swapped_groups(const MapPairs& map, int64_t num_pairs, int64_t num_in, int64_t* group,
                      int32_t* pairs, Stream stream);

// The swapped map of the sorted groups and pairs.
Status fill_swapped(const MapPairs& map, const int64_t* group, const int32_t* pairs,
                    int64_t num_pairs, int64_t num_groups, int32_t* in_rows, int32_t* out_rows,
                    int64_t* segments, Stream stream);

}  // namespace pointseg::cuda
