// The pairs of a kernel map by output row, as the loops of both devices read them.
#pragma once

#include <cstdint>

namespace pointseg {

// For every output row its pairs as one run of the lists, in tap order (of a mirrored map in
// descending order).
struct RowLists {
  const int64_t* row_starts;  // [rows + 1]
  const int32_t* taps;        // [E]
  const int32_t* neighbors;   // [E] input row at that tap
  int64_t num_rows;
};

}  // namespace pointseg
