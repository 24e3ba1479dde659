#include "region_map.h"

#include "walk_map.h"

namespace pointseg::cpu {

void count_rows(const MapPairs& map, int64_t num_rows, int64_t* row_starts,
                const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t, int64_t, int64_t o) { ++row_starts[o + 1]; });
  for (int64_t row = 0; row < num_rows; ++row) row_starts[row + 1] += row_starts[row];
}

void fill_rows(const MapPairs& map, int64_t* cursor, int32_t* taps, int32_t* neighbors,
               const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t tap, int64_t i, int64_t o) {
    const int64_t place = cursor[o]++;
    taps[place] = static_cast<int32_t>(tap);
    neighbors[place] = static_cast<int32_t>(i);
  });
}

}  // namespace pointseg::cpu
