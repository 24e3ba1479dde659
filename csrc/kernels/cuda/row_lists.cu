#include "row_lists.h"

#include "executor.h"

namespace pointseg::cuda {
namespace {

// One block of output rows, tap by tap: no row comes twice in a tap, so each thread has the next
// place of its pair's row to itself. Bound by the latency of a tap's pairs; that is why many groups
// are known ahead.
template <bool kFill>
struct WalkTaps {
  static constexpr int kThreads = 512;
  static constexpr int kAhead = 64;  // taps
  struct Shared {
    int64_t bounds[kAhead][2];
    int32_t count[kBlockRows];
  };

  MapPairs map;
  int64_t num_out;
  int64_t* counts;
  const int64_t* row_starts;
  int32_t* taps;
  int32_t* neighbors;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t first = t.block() * kBlockRows;
    const int64_t rows = num_out - first < kBlockRows ? num_out - first : kBlockRows;
    for (int64_t row = t.thread(); row < rows; row += kThreads) shared.count[row] = 0;
    for (int64_t tap = 0; tap < map.num_taps; ++tap) {
      if (tap % kAhead == 0) load_bounds(t, shared, tap);
      const int64_t* bounds = shared.bounds[tap % kAhead];
      for (int64_t pair = bounds[0] + t.thread(); pair < bounds[1]; pair += kThreads) {
        const int64_t row = map.out_rows[pair] - first;
        const int32_t place = shared.count[row]++;
        if constexpr (kFill) {
          const int64_t to = row_starts[first + row] + place;
          taps[to] = static_cast<int32_t>(tap);
          neighbors[to] = map.in_rows[pair];
        }
      }
      t.sync();
    }
    if constexpr (!kFill) {
      for (int64_t row = t.thread(); row < rows; row += kThreads)
        counts[first + row] = shared.count[row];
    }
  }

  // The groups of the next taps of the block. All threads are done with the last ones.
  template <class Thread>
  POINTSEG_DEVICE void load_bounds(Thread& t, Shared& shared, int64_t tap) const {
    static_assert(kThreads >= 2 * kAhead);
    const int64_t at = 2 * (t.block() * map.num_taps + tap) + t.thread();
    if (t.thread() < 2 * kAhead && tap + t.thread() / 2 < map.num_taps)
      shared.bounds[t.thread() / 2][t.thread() % 2] = map.segments[at];
    t.sync();
  }
};

}  // namespace

Status count_row_pairs(const MapPairs& map, int64_t num_out, int64_t* counts, Stream stream) {
  return launch(WalkTaps<false>{map, num_out, counts, nullptr, nullptr, nullptr}, map.num_blocks,
                stream);
}

Status fill_row_lists(const MapPairs& map, int64_t num_out, const int64_t* row_starts,
                      int32_t* taps, int32_t* neighbors, Stream stream) {
  return launch(WalkTaps<true>{map, num_out, nullptr, row_starts, taps, neighbors}, map.num_blocks,
                stream);
}

}  // namespace pointseg::cuda
