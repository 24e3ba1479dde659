#include "row_lists.h"

#include <algorithm>
#include <atomic>

namespace pointseg::cpu {

int64_t count_rows(const MapPairs& map, int64_t num_in, int64_t num_out, int64_t* row_starts,
                   const Parallel& parallel) {
  std::atomic<int64_t> bad{-1};
  row_starts[0] = 0;
  parallel.tasks(map.num_blocks, [&](int64_t block) {
    const int64_t first = block * kBlockRows;
    const auto rows = static_cast<uint64_t>(std::min(kBlockRows, num_out - first));
    int64_t* counts = row_starts + 1 + first;
    std::fill(counts, counts + rows, 0);
    for (int64_t tap = 0; tap < map.num_taps; ++tap) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair) {
        const auto row = static_cast<uint64_t>(map.out_rows[pair] - first);
        if (row >= rows || map.in_rows[pair] < 0 || map.in_rows[pair] >= num_in) {
          bad = pair;
          return;
        }
        ++counts[row];
      }
    }
  });
  for (int64_t row = 0; row < num_out; ++row) row_starts[row + 1] += row_starts[row];
  return bad;
}

void fill_rows(const MapPairs& map, int64_t num_out, const int64_t* row_starts, int32_t* taps,
               int32_t* neighbors, const Parallel& parallel) {
  parallel.tasks(map.num_blocks, [&](int64_t block) {
    const int64_t first = block * kBlockRows;
    int64_t next[kBlockRows];
    std::copy(row_starts + first, row_starts + std::min(first + kBlockRows, num_out), next);
    for (int64_t tap = 0; tap < map.num_taps; ++tap) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair) {
        const int64_t place = next[map.out_rows[pair] - first]++;
        taps[place] = static_cast<int32_t>(tap);
        neighbors[place] = map.in_rows[pair];
      }
    }
  });
}

}  // namespace pointseg::cpu
