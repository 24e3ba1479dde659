#include "swap_map.h"

#include <algorithm>

#include "executor.h"
#include "search.h"

namespace pointseg::cuda {
namespace {

struct LeaveOut {
  static constexpr int kThreads = 256;
  int64_t num_pairs;
  int64_t num_groups;
  int64_t* group;
  int32_t* pairs;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= num_pairs) return;
    group[i] = num_groups;
    pairs[i] = static_cast<int32_t>(i);
  }
};

// A warp per group of the map.
struct SwappedGroups {
  static constexpr int kThreads = 256;
  MapPairs map;
  int64_t* group;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t from = t.block() * (kThreads / kWarp) + t.warp();
    if (from >= map.num_blocks * map.num_taps) return;
    const int64_t tap = from % map.num_taps, end = map.segments[2 * from + 1];
    for (int64_t pair = map.segments[2 * from] + t.lane(); pair < end; pair += kWarp)
      group[pair] = map.in_rows[pair] / kBlockRows * map.num_taps + tap;
  }
};

// A thread per pair, and one per group.
struct FillSwapped {
  static constexpr int kThreads = 256;
  MapPairs map;
  const int64_t* group;
  const int32_t* pairs;
  int64_t num_pairs;
  int64_t num_groups;
  int32_t* in_rows;
  int32_t* out_rows;
  int64_t* segments;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i < num_pairs) {
      in_rows[i] = map.out_rows[pairs[i]];
      out_rows[i] = map.in_rows[pairs[i]];
    }
    if (i < num_groups) {
      segments[2 * i] = first_not_below(group, 0, num_pairs, i);
      segments[2 * i + 1] = first_not_below(group, segments[2 * i], num_pairs, i + 1);
    }
  }
};

}  // namespace

Status swapped_groups(const MapPairs& map, int64_t num_pairs, int64_t num_in, int64_t* group,
                      int32_t* pairs, Stream stream) {
  const int64_t num_groups = num_blocks(num_in) * map.num_taps;
  const Status status = launch(LeaveOut{num_pairs, num_groups, group, pairs},
                               num_blocks_for(num_pairs, LeaveOut::kThreads), stream);
  if (status != kSuccess) return status;
  const int64_t from = map.num_blocks * map.num_taps;
  return launch(SwappedGroups{map, group}, num_blocks_for(from, SwappedGroups::kThreads / kWarp),
                stream);
}

Status fill_swapped(const MapPairs& map, const int64_t* group, const int32_t* pairs,
                    int64_t num_pairs, int64_t num_groups, int32_t* in_rows, int32_t* out_rows,
                    int64_t* segments, Stream stream) {
  return launch(FillSwapped{map, group, pairs, num_pairs, num_groups, in_rows, out_rows, segments},
                num_blocks_for(std::max(num_pairs, num_groups), FillSwapped::kThreads), stream);
}

}  // namespace pointseg::cuda
