// Launcher of mask_order: see pointseg/ops/mask_order.py for the contract.
#pragma once

#include <cstdint>

#include "../row_lists.h"
#include "stream.h"

namespace pointseg::cuda {

// Taps beyond so many, and of a range beyond so many, do not count for the order.
constexpr int64_t kOrderedTaps = 1024;
constexpr int kMaskBits = 62;

// Bit of each tap in the mask of its range; kMaskBits where it has none.
struct TapBits {
  uint8_t of[kOrderedTaps];
};

// keys[s][r]: place, in a Gray code, of the mask of those taps of row r that are in range s of
// num_splits. rows[r] = r.
Status mask_keys(const RowLists& lists, const TapBits& bits, int64_t num_taps, int64_t num_splits,
                 int64_t* keys, int32_t* rows, Stream stream);

}  // namespace pointseg::cuda
