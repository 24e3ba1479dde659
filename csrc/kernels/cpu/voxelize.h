// Sorting voxel keys and finding the distinct ones.
#pragma once

#include <cstdint>

#include "../parallel.h"

namespace pointseg::cpu {

// A key beside the row it came from. `key` may be a compressed form that sorts alike.
struct KeyRow {
  uint64_t key;
  int64_t row;
};

// coords [n, 4] int32 to keys [n]. Returns the first row outside the range of `packing.h`, or -1.
int64_t pack_keys(const int32_t* coords, int64_t n, int64_t* keys, const Parallel& parallel);

// Stable ascending sort of n keys: keys[order[i]] == sorted[i], equal keys by ascending row.
// `scratch` holds 2 n entries.
void sort_keys(const int64_t* keys, int64_t n, int64_t* sorted, int64_t* order, KeyRow* scratch);

// Number of distinct values in n sorted keys.
int64_t count_distinct(const int64_t* sorted, int64_t n);

// The runs of equal keys: run v is sorted[starts[v] : starts[v + 1]] and has key voxel_keys[v],
// which unpacks to coords[v]; inverse[row] = v for every row of the run. starts has one more entry
// than runs.
void distinct_runs(const int64_t* sorted, const int64_t* order, int64_t n, int64_t* voxel_keys,
                   int32_t* coords, int64_t* starts, int64_t* inverse);

}  // namespace pointseg::cpu
