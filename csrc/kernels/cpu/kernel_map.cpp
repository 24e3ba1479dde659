#include "kernel_map.h"

#include <algorithm>

namespace pointseg::cpu {
namespace {

// emit(tap, input position, output position) for every pair of one block, by column, then by output
// position. Both key lists are sorted, so the place to look only moves forward.
template <class Emit>
void walk_block(const MapSearch& s, int64_t block, const Emit& emit) {
  const int64_t begin = block * kBlockRows;
  const int64_t end = std::min(begin + kBlockRows, s.num_out);
  const int64_t* in_end = s.in_keys + s.num_in;
  for (int64_t c = 0; c < s.num_columns; ++c) {
    const TapColumn column = s.columns[c];
    const int64_t* place =
        std::lower_bound(s.in_keys, in_end, s.out_keys[begin] + column.low_delta);
    for (int64_t out = begin; out < end; ++out) {
      const int64_t low = s.out_keys[out] + column.low_delta;
      while (place < in_end && *place < low) ++place;
      for (const int64_t* p = place; p < in_end && *p - low <= column.span; ++p) {
        const int32_t tap = column.tap[*p - low];
        if (tap >= 0) emit(tap, p - s.in_keys, out);
      }
    }
  }
}

}  // namespace

void count_pairs(const MapSearch& search, int64_t* counts, const Parallel& parallel) {
  parallel.tasks(num_blocks(search.num_out), [&](int64_t block) {
    int64_t* count = counts + block * search.num_taps;
    std::fill(count, count + search.num_taps, 0);
    walk_block(search, block, [&](int32_t tap, int64_t, int64_t) { ++count[tap]; });
  });
}

void fill_pairs(const MapSearch& search, int64_t* cursor, int32_t* in_rows, int32_t* out_rows,
                const Parallel& parallel) {
  parallel.tasks(num_blocks(search.num_out), [&](int64_t block) {
    int64_t* next = cursor + block * search.num_taps;
    walk_block(search, block, [&](int32_t tap, int64_t in, int64_t out) {
      const int64_t pair = next[tap]++;
      in_rows[pair] = static_cast<int32_t>(in);
      out_rows[pair] = static_cast<int32_t>(out);
    });
  });
}

void count_regrouped(const MapPairs& map, int64_t* counts, const Parallel& parallel) {
  parallel.tasks(map.num_taps, [&](int64_t tap) {
    for (int64_t block = 0; block < map.num_blocks; ++block) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair)
        ++counts[map.out_rows[pair] / kBlockRows * map.num_taps + tap];
    }
  });
}

void fill_regrouped(const MapPairs& map, int64_t* cursor, int32_t* in_rows, int32_t* out_rows,
                    const Parallel& parallel) {
  parallel.tasks(map.num_taps, [&](int64_t tap) {
    for (int64_t block = 0; block < map.num_blocks; ++block) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair) {
        const int64_t place = cursor[map.out_rows[pair] / kBlockRows * map.num_taps + tap]++;
        in_rows[place] = map.in_rows[pair];
        out_rows[place] = map.out_rows[pair];
      }
    }
  });
}

}  // namespace pointseg::cpu
