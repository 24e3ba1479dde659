// Kernel maps: for every output voxel and every tap of a kernel, the input voxel that lies there.
//
// The map is a list of pairs (input row, output row), grouped by block of `kBlockRows` output rows
// and, inside a block, by tap: the pairs of output row o are those of block o / kBlockRows. No
// output row occurs twice in one group. So a kernel that walks one block at a time may write its
// rows without locks, and add to them in an order that no number of threads changes.
#pragma once

#include <cstdint>

#include "packing.h"

namespace pointseg {

constexpr int64_t kBlockRows = 2048;

POINTSEG_HD int64_t num_blocks(int64_t num_rows) {
  return (num_rows + kBlockRows - 1) / kBlockRows;
}

// A map, blocks ascending. `segments` may leave out pairs of the lists.
struct MapPairs {
  const int32_t* in_rows;
  const int32_t* out_rows;
  const int64_t* segments;  // [blocks, taps, 2]: begin and end of each group
  int64_t num_blocks;
  int64_t num_taps;
};

}  // namespace pointseg
