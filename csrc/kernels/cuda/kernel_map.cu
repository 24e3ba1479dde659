#include "kernel_map.h"

#include <bit>

#include "executor.h"
#include "search.h"

namespace pointseg::cuda {
namespace {

// One column of taps for the output rows of one block; the columns are the second dimension of the
// grid, as there are too few blocks to fill a GPU. Counting and filling search alike: to keep what
// has been found would take more memory traffic than to find it again.
//
// Every warp has a stretch of the rows, a lane every 32nd of it, so that the next place to look is
// near the last. Bound by the latency of searches in keys that the caches hold.
template <bool kFill>
struct SearchColumn {
  static constexpr int kThreads = 256;
  static constexpr int kWarps = kThreads / kWarp;
  static constexpr int kRowsOfWarp = kBlockRows / kWarps;
  struct Shared {
    int32_t place[kBlockRows];   // the first input key that is not below the lowest tap
    uint32_t found[kBlockRows];  // which taps of the column have a pair
    int32_t counts[kWarps][kWarp];
  };

  MapSearch search;
  int64_t* counts;
  const int64_t* begins;
  int32_t* in_rows;
  int32_t* out_rows;
  int64_t* segments;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const TapColumn column = search.columns[t.part()];
    const ColumnTap* taps = search.taps + column.first;
    const int64_t rows = rows_of(t.block());
    const bool is_tap = t.lane() < column.count;
    const int64_t group = t.block() * search.num_taps + (is_tap ? taps[t.lane()].tap : 0);

    find(t, shared, column, taps, rows);
    const int32_t mine = count(t, shared, column);
    shared.counts[t.warp()][t.lane()] = mine;
    t.sync();
    int64_t before = 0, total = 0;
    for (int warp = 0; warp < kWarps; ++warp) {
      if (warp == t.warp()) before = total;
      total += shared.counts[warp][t.lane()];
    }
    if constexpr (kFill) {
      if (is_tap && t.warp() == 0) {
        segments[2 * group] = begins[group];
        segments[2 * group + 1] = begins[group + 1];
      }
      fill(t, shared, column, taps, rows, is_tap ? begins[group] + before : 0);
    } else if (is_tap && t.warp() == 0) {
      counts[group] = total;
    }
  }

  // Output rows of a block.
  POINTSEG_HD int64_t rows_of(int64_t block) const {
    const int64_t left = search.out.size.get() - block * kBlockRows;
    return left < kBlockRows ? left : kBlockRows;
  }

  POINTSEG_HD int64_t out_place(int64_t block, int64_t row) const {
    const int64_t slot = block * kBlockRows + row;
    return search.out_places == nullptr ? slot : search.out_places[slot];
  }

  template <class Thread>
  POINTSEG_DEVICE void find(Thread& t, Shared& shared, TapColumn column, const ColumnTap* taps,
                            int64_t rows) const {
    const int64_t num_in = search.in.size.get();
    const int64_t* keys = search.in.keys;
    const int64_t span = taps[column.count - 1].above;
    int64_t place = 0;
    for (int i = t.lane(); i < kRowsOfWarp; i += kWarp) {
      const int row = t.warp() * kRowsOfWarp + i;
      uint32_t found = 0;
      if (row < rows) {
        const int64_t low = search.out.keys[out_place(t.block(), row)] + column.low_delta;
        place = i < kWarp ? first_not_below(keys, 0, num_in, low)
                          : first_not_below_near(keys, place, num_in, low);
        int tap = 0;
        for (int64_t p = place; p < num_in && keys[p] - low <= span; ++p) {
          while (taps[tap].above < keys[p] - low) ++tap;
          if (taps[tap].above == keys[p] - low) found |= uint32_t{1} << tap;
        }
      }
      shared.place[row] = static_cast<int32_t>(place);
      shared.found[row] = found;
    }
  }

  // Pairs of tap `lane` in the rows of the warp.
  template <class Thread>
  POINTSEG_DEVICE int32_t count(Thread& t, const Shared& shared, TapColumn column) const {
    int32_t pairs = 0;
    for (int i = t.lane(); i < kRowsOfWarp; i += kWarp) {
      const uint32_t found = shared.found[t.warp() * kRowsOfWarp + i];
      for (int tap = 0; tap < column.count; ++tap) {
        const uint32_t bits = t.ballot(found >> tap & 1);
        if (tap == t.lane()) pairs += std::popcount(bits);
      }
    }
    return pairs;
  }

  // `next` is where the warp's first pair of tap `lane` goes.
  template <class Thread>
  POINTSEG_DEVICE void fill(Thread& t, const Shared& shared, TapColumn column,
                            const ColumnTap* taps, int64_t rows, int64_t next) const {
    const int64_t* keys = search.in.keys;
    const uint32_t below = (uint32_t{1} << t.lane()) - 1;
    for (int i = t.lane(); i < kRowsOfWarp; i += kWarp) {
      const int row = t.warp() * kRowsOfWarp + i;
      const uint32_t found = shared.found[row];
      int64_t place = shared.place[row], low = 0;
      int32_t out_row = 0;
      if (row < rows) {
        const int64_t out = out_place(t.block(), row);
        low = search.out.keys[out] + column.low_delta;
        out_row = search.out.order == nullptr ? static_cast<int32_t>(out) : search.out.order[out];
      }
      for (int tap = 0; tap < column.count; ++tap) {
        const bool has = found >> tap & 1;
        const uint32_t bits = t.ballot(has);
        const int64_t pair = t.shuffle(next, tap) + std::popcount(bits & below);
        if (has) {
          while (keys[place] - low != taps[tap].above) ++place;
          in_rows[pair] =
              search.in.order == nullptr ? static_cast<int32_t>(place) : search.in.order[place];
          out_rows[pair] = out_row;
        }
        if (tap == t.lane()) next += std::popcount(bits);
      }
    }
  }
};

// A warp per tap.
struct SumBlocks {
  static constexpr int kThreads = 128;
  const int64_t* begins;
  int64_t num_blocks;
  int64_t num_taps;
  int64_t* pairs;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t tap = t.block() * (kThreads / kWarp) + t.warp();
    int64_t sum = 0;
    if (tap < num_taps) {
      for (int64_t block = t.lane(); block < num_blocks; block += kWarp) {
        const int64_t* begin = begins + block * num_taps + tap;
        sum += begin[1] - begin[0];
      }
    }
    for (int mask = kWarp / 2; mask > 0; mask /= 2) sum += t.shuffle_xor(sum, mask);
    if (tap < num_taps && t.lane() == 0) pairs[tap] = sum;
  }
};

struct RowBlocks {
  static constexpr int kThreads = 256;
  const int32_t* order;
  int64_t size;
  int64_t* blocks;
  int32_t* places;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= size) return;
    blocks[i] = order[i] / kBlockRows;
    places[i] = static_cast<int32_t>(i);
  }
};

}  // namespace

Status count_pairs(const MapSearch& search, int64_t* counts, Stream stream) {
  return launch(SearchColumn<false>{search, counts, nullptr, nullptr, nullptr, nullptr},
                Grid{num_blocks(search.out.size.bound), search.num_columns}, stream);
}

Status fill_pairs(const MapSearch& search, const int64_t* begins, int32_t* in_rows,
                  int32_t* out_rows, int64_t* segments, Stream stream) {
  return launch(SearchColumn<true>{search, nullptr, begins, in_rows, out_rows, segments},
                Grid{num_blocks(search.out.size.bound), search.num_columns}, stream);
}

Status sum_blocks(const int64_t* begins, int64_t num_blocks, int64_t num_taps, int64_t* pairs,
                  Stream stream) {
  return launch(SumBlocks{begins, num_blocks, num_taps, pairs},
                num_blocks_for(num_taps, SumBlocks::kThreads / kWarp), stream);
}

Status row_blocks(const int32_t* order, int64_t size, int64_t* blocks, int32_t* places,
                  Stream stream) {
  return launch(RowBlocks{order, size, blocks, places}, num_blocks_for(size, RowBlocks::kThreads),
                stream);
}

}  // namespace pointseg::cuda
