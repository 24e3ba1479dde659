// A kernel map as a table: which input row each tap of an output row reads.
//
// One thread can then walk the taps of a row in order. The table is made for a few blocks of output
// rows at a time, so that it stays small and in the cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../map_pairs.h"
#include "executor.h"

namespace pointseg::cuda {

// The table of blocks from `first_row` on.
struct NeighborTable {
  const int32_t* rows;  // [blocks, taps, kBlockRows]; -1: no voxel there
  int64_t num_taps;
  int64_t first_row, end_row;  // output rows

  // Of the taps of an output row; one tap is kBlockRows behind the other.
  POINTSEG_HD const int32_t* taps_of(int64_t row) const {
    const int64_t at = row - first_row;
    return rows + at / kBlockRows * num_taps * kBlockRows + at % kBlockRows;
  }
};

constexpr int64_t kTableBytes = int64_t{32} << 20;

// Blocks of the map that one table is made of.
inline int64_t table_blocks(const MapPairs& map) {
  const int64_t bytes = map.num_taps * kBlockRows * static_cast<int64_t>(sizeof(int32_t));
  return std::clamp<int64_t>(kTableBytes / std::max<int64_t>(bytes, 1), 1,
                             std::max<int64_t>(map.num_blocks, 1));
}
inline int64_t table_size(const MapPairs& map) {
  return table_blocks(map) * map.num_taps * kBlockRows;
}

// Makes the table of blocks [first_block, first_block + num_blocks) in `rows`.
Status fill_table(const MapPairs& map, int64_t first_block, int64_t num_blocks, int32_t* rows,
                  Stream stream);

// run(table) for all output rows, one table after the other; `scratch` has room for table_size().
template <class Run>
Status over_tables(const MapPairs& map, int64_t num_out, int32_t* scratch, Stream stream,
                   const Run& run) {
  const int64_t step = table_blocks(map);
  for (int64_t block = 0; block < map.num_blocks; block += step) {
    const int64_t end = std::min(block + step, map.num_blocks);
    const Status filled = fill_table(map, block, end - block, scratch, stream);
    if (filled != kSuccess) return filled;
    const Status status = run(NeighborTable{scratch, map.num_taps, block * kBlockRows,
                                            std::min(end * kBlockRows, num_out)});
    if (status != kSuccess) return status;
  }
  return kSuccess;
}

}  // namespace pointseg::cuda
