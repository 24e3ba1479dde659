#include "key_runs.h"

#include "../coarse_key.h"
#include "executor.h"

namespace pointseg::cuda {
namespace {

constexpr int64_t kBehindAll = INT64_MAX;

struct CountUp {
  static constexpr int kThreads = 256;
  int32_t* places;
  int64_t size;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i < size) places[i] = static_cast<int32_t>(i);
  }
};

struct RoundKeys {
  static constexpr int kThreads = 256;
  const int64_t* keys;
  DeviceSize size;
  Floor floor;
  int64_t* rounded;
  int32_t* places;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= size.bound) return;
    rounded[i] = i < size.get() ? coarse_key(keys[i], floor) : kBehindAll;
    places[i] = static_cast<int32_t>(i);
  }
};

struct MarkRuns {
  static constexpr int kThreads = 256;
  const int64_t* sorted;
  DeviceSize size;
  int64_t* starts;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i > size.bound) return;
    starts[i] = i < size.get() && (i == 0 || sorted[i] != sorted[i - 1]);
  }
};

// Bound by memory: 20 bytes read per key, and what is wanted of it written.
struct FillRuns {
  static constexpr int kThreads = 256;
  const int64_t* sorted;
  const int32_t* places;
  const int64_t* sums;
  DeviceSize size;
  RunArrays runs;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread(), end = size.get();
    if (i == 0) {
      const int64_t count = sums[size.bound];
      if (runs.num_runs != nullptr) *runs.num_runs = count;
      if (runs.starts != nullptr) runs.starts[count] = end;
    }
    if (i >= end) return;
    const int64_t run = sums[i + 1] - 1, place = places[i];
    if (runs.parents != nullptr) runs.parents[place] = static_cast<int32_t>(run);
    if (runs.inverse != nullptr) runs.inverse[place] = run;
    if (runs.order != nullptr) runs.order[i] = place;
    if (sums[i] > run) return;  // not the first of its run
    if (runs.keys != nullptr) runs.keys[run] = sorted[i];
    if (runs.starts != nullptr) runs.starts[run] = i;
    if (runs.coords != nullptr) {
      Pack<int32_t, 4> row;
      unpack_key(sorted[i], row.v);
      store_pack(runs.coords + 4 * run, row);
    }
  }
};

}  // namespace

Status count_up(int32_t* places, int64_t size, Stream stream) {
  return launch(CountUp{places, size}, num_blocks_for(size, CountUp::kThreads), stream);
}

Status round_keys(const int64_t* keys, DeviceSize size, int64_t stride, int64_t* rounded,
                  int32_t* places, Stream stream) {
  return launch(RoundKeys{keys, size, Floor(stride), rounded, places},
                num_blocks_for(size.bound, RoundKeys::kThreads), stream);
}

Status mark_runs(const int64_t* sorted, DeviceSize size, int64_t* starts, Stream stream) {
  return launch(MarkRuns{sorted, size, starts}, num_blocks_for(size.bound + 1, MarkRuns::kThreads),
                stream);
}

Status fill_runs(const int64_t* sorted, const int32_t* places, const int64_t* sums, DeviceSize size,
                 const RunArrays& runs, Stream stream) {
  return launch(FillRuns{sorted, places, sums, size, runs},
                num_blocks_for(size.bound + 1, FillRuns::kThreads), stream);
}

}  // namespace pointseg::cuda
