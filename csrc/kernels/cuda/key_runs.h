// Distinct keys: what voxelize and downsample do around a sort.
#pragma once

#include <cstdint>

#include "device_size.h"
#include "stream.h"

namespace pointseg::cuda {

// places[i] = i.
Status count_up(int32_t* places, int64_t size, Stream stream);

// rounded[i] = keys[i] rounded down to multiples of `stride`, and places[i] = i. Beyond the size,
// up to its bound, keys that sort behind all others.
Status round_keys(const int64_t* keys, DeviceSize size, int64_t stride, int64_t* rounded,
                  int32_t* places, Stream stream);

// starts [size.bound + 1] = 1 where a run of equal sorted keys begins, 0 elsewhere. Their exclusive
// sum says which run each key is in, and last of all how many there are.
Status mark_runs(const int64_t* sorted, DeviceSize size, int64_t* starts, Stream stream);

// What is wanted of the runs of sorted keys; null: it is not.
struct RunArrays {
  int64_t* keys = nullptr;      // [runs]
  int32_t* coords = nullptr;    // [runs, 4], unpacked from the keys
  int64_t* starts = nullptr;    // [runs + 1], the place where each run begins
  int32_t* parents = nullptr;   // [size] the run of each key, by its place before the sort
  int64_t* inverse = nullptr;   // the same
  int64_t* order = nullptr;     // [size] the place before the sort of each sorted key
  int64_t* num_runs = nullptr;  // [1]
};

// `sums` is the exclusive sum of what mark_runs marks, `places` what has been sorted with the keys.
Status fill_runs(const int64_t* sorted, const int32_t* places, const int64_t* sums, DeviceSize size,
                 const RunArrays& runs, Stream stream);

}  // namespace pointseg::cuda
