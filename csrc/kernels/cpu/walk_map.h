// The one loop over a kernel map that every row-wise op shares.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// visit(tap, in_row, out_row) for every pair. Blocks run in parallel and own their output rows; the
// pairs of one output row come in tap order, so sums have one order whatever the number of threads.
template <class Visit>
inline __attribute__((always_inline)) void walk_map(const MapPairs& map, const Parallel& parallel,
                                                    const Visit& visit) {
  parallel.tasks(map.num_blocks, [&](int64_t block) {
    for (int64_t tap = 0; tap < map.num_taps; ++tap) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair)
        visit(tap, int64_t{map.in_rows[pair]}, int64_t{map.out_rows[pair]});
    }
  });
}

}  // namespace pointseg::cpu
