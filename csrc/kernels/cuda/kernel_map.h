// Search for the pairs of kernel maps, see `../map_pairs.h` and pointseg/ops/kernel_map.py.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "device_size.h"
#include "stream.h"

namespace pointseg::cuda {

// Taps that share (dx, dy), at most one for each lane of a warp: one search along z serves them
// all.
struct TapColumn {
  int64_t low_delta;  // key distance from an output voxel to the lowest tap
  int32_t first;      // of the column's taps in the table
  int32_t count;
};
struct ColumnTap {
  int32_t above;  // key distance from the lowest tap of the column, ascending
  int32_t tap;
};

// The voxels of a grid: sorted keys, and the row of each; null where rows are sorted themselves.
struct SortedVoxels {
  const int64_t* keys;
  const int32_t* order;
  DeviceSize size;
};

// What to search for; tables are in device memory.
struct MapSearch {
  SortedVoxels in, out;
  // Places in out.keys by block of rows, ascending in a block: group_places(); null where out.order
  // is null.
  const int32_t* out_places;
  const TapColumn* columns;
  int64_t num_columns;
  const ColumnTap* taps;
  int64_t num_taps;
};

// counts [blocks, taps] of pairs; blocks are those of the bound of the output's size.
Status count_pairs(const MapSearch& search, int64_t* counts, Stream stream);

// Writes the pairs and `segments` [blocks, taps, 2]. begins [blocks * taps + 1] is the exclusive
// sum of the counts and their total.
Status fill_pairs(const MapSearch& search, const int64_t* begins, int32_t* in_rows,
                  int32_t* out_rows, int64_t* segments, Stream stream);

// pairs [num_taps] of every tap.
Status sum_blocks(const int64_t* begins, int64_t num_blocks, int64_t num_taps, int64_t* pairs,
                  Stream stream);

// blocks[i] = order[i] / kBlockRows and places[i] = i: sorted by block, places are `out_places`.
Status row_blocks(const int32_t* order, int64_t size, int64_t* blocks, int32_t* places,
                  Stream stream);

}  // namespace pointseg::cuda
