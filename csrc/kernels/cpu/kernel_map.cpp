#include "kernel_map.h"

#include <algorithm>
#include <numeric>
#include <vector>

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

// fn(begin, end, block) over stretches of the pairs of one tap whose input rows are of one block.
// Rows ascend in a group of a search, so a stretch ends where a binary search says.
template <class F>
void over_input_blocks(const MapPairs& map, int64_t tap, const F& fn) {
  for (int64_t b = 0; b < map.num_blocks; ++b) {
    const int64_t* segment = map.segments + (b * map.num_taps + tap) * 2;
    for (int64_t begin = segment[0]; begin < segment[1];) {
      const int64_t block = map.in_rows[begin] / kBlockRows;
      const int64_t end = std::lower_bound(map.in_rows + begin, map.in_rows + segment[1],
                                           (block + 1) * kBlockRows) -
                          map.in_rows;
      fn(begin, end, block);
      begin = end;
    }
  }
}

}  // namespace

void count_pairs(const MapSearch& search, int64_t* counts, const Parallel& parallel) {
  parallel.tasks(num_blocks(search.num_out), [&](int64_t block) {
    // Counted apart: the counts of two blocks share a cache line, for which threads would fight.
    std::vector<int64_t> count(search.num_taps, 0);
    walk_block(search, block, [&](int32_t tap, int64_t, int64_t) { ++count[tap]; });
    std::copy(count.begin(), count.end(), counts + block * search.num_taps);
  });
}

void fill_pairs(const MapSearch& search, const int64_t* begins, int32_t* in_rows, int32_t* out_rows,
                const Parallel& parallel) {
  parallel.tasks(num_blocks(search.num_out), [&](int64_t block) {
    const int64_t* first = begins + block * search.num_taps;
    std::vector<int64_t> next(first, first + search.num_taps);
    walk_block(search, block, [&](int32_t tap, int64_t in, int64_t out) {
      const int64_t pair = next[tap]++;
      in_rows[pair] = static_cast<int32_t>(in);
      out_rows[pair] = static_cast<int32_t>(out);
    });
  });
}

void count_mirrored(const MapPairs& half, const MirroredTaps& taps, int64_t* counts,
                    const Parallel& parallel) {
  parallel.tasks(taps.num_upper, [&](int64_t u) {
    for (int64_t block = 0; block < half.num_blocks; ++block) {
      const int64_t* segment = half.segments + (block * half.num_taps + u) * 2;
      counts[block * taps.num_taps + taps.upper[u]] = segment[1] - segment[0];
    }
    over_input_blocks(half, u, [&](int64_t begin, int64_t end, int64_t block) {
      counts[block * taps.num_taps + taps.lower[u]] += end - begin;
    });
  });
  if (taps.centre < 0) return;
  for (int64_t row = 0; row < taps.num_rows; row += kBlockRows)
    counts[row / kBlockRows * taps.num_taps + taps.centre] =
        std::min(kBlockRows, taps.num_rows - row);
}

void fill_mirrored(const MapPairs& half, const MirroredTaps& taps, const int64_t* begins,
                   int32_t* in_rows, int32_t* out_rows, const Parallel& parallel) {
  parallel.tasks(taps.num_upper, [&](int64_t u) {
    for (int64_t block = 0; block < half.num_blocks; ++block) {
      const int64_t* segment = half.segments + (block * half.num_taps + u) * 2;
      const int64_t to = begins[block * taps.num_taps + taps.upper[u]];
      std::copy(half.in_rows + segment[0], half.in_rows + segment[1], in_rows + to);
      std::copy(half.out_rows + segment[0], half.out_rows + segment[1], out_rows + to);
    }
    int64_t filled = -1, to = 0;
    over_input_blocks(half, u, [&](int64_t begin, int64_t end, int64_t block) {
      if (block != filled) to = begins[block * taps.num_taps + taps.lower[u]];
      filled = block;
      std::copy(half.out_rows + begin, half.out_rows + end, in_rows + to);
      std::copy(half.in_rows + begin, half.in_rows + end, out_rows + to);
      to += end - begin;
    });
  });
  if (taps.centre < 0) return;
  for (int64_t row = 0; row < taps.num_rows; row += kBlockRows) {
    const int64_t to = begins[row / kBlockRows * taps.num_taps + taps.centre];
    const int64_t count = std::min(kBlockRows, taps.num_rows - row);
    std::iota(in_rows + to, in_rows + to + count, static_cast<int32_t>(row));
    std::iota(out_rows + to, out_rows + to + count, static_cast<int32_t>(row));
  }
}

void count_regrouped(const MapPairs& map, int64_t num_blocks, int64_t* counts,
                     const Parallel& parallel) {
  parallel.tasks(map.num_taps, [&](int64_t tap) {
    std::vector<int64_t> count(num_blocks, 0);
    for (int64_t block = 0; block < map.num_blocks; ++block) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair)
        ++count[map.out_rows[pair] / kBlockRows];
    }
    for (int64_t block = 0; block < num_blocks; ++block)
      counts[block * map.num_taps + tap] = count[block];
  });
}

void fill_regrouped(const MapPairs& map, int64_t num_blocks, const int64_t* begins,
                    int32_t* in_rows, int32_t* out_rows, const Parallel& parallel) {
  parallel.tasks(map.num_taps, [&](int64_t tap) {
    std::vector<int64_t> next(num_blocks);
    for (int64_t block = 0; block < num_blocks; ++block)
      next[block] = begins[block * map.num_taps + tap];
    for (int64_t block = 0; block < map.num_blocks; ++block) {
      const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
      for (int64_t pair = segment[0]; pair < segment[1]; ++pair) {
        const int64_t place = next[map.out_rows[pair] / kBlockRows]++;
        in_rows[place] = map.in_rows[pair];
        out_rows[place] = map.out_rows[pair];
      }
    }
  });
}

}  // namespace pointseg::cpu
