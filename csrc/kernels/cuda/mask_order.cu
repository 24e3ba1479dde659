#include "mask_order.h"

#include "executor.h"
#include "tap_range.h"

namespace pointseg::cuda {
namespace {

// Parts are ranges of taps. Bound by reading the lists of all rows.
struct MaskKeys {
  static constexpr int kThreads = 256;
  RowLists lists;
  TapBits bits;
  int64_t num_taps;
  int64_t* keys;
  int32_t* rows;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t row = t.block() * kThreads + t.thread();
    if (row >= lists.num_rows) return;
    const TapRange range = taps_of(t.part(), t.parts(), num_taps);
    uint64_t mask = 0;
    for (int64_t e = lists.row_starts[row]; e < lists.row_starts[row + 1]; ++e) {
      const int tap = lists.taps[e];
      const bool counts = tap >= range.begin && tap < range.end && tap < kOrderedTaps;
      const int bit = counts ? bits.of[tap] : kMaskBits;
      if (bit < kMaskBits) mask |= uint64_t{1} << bit;
    }
    for (int shift = 1; shift < 64; shift *= 2) mask ^= mask >> shift;
    keys[t.part() * lists.num_rows + row] = static_cast<int64_t>(mask);
    if (t.part() == 0) rows[row] = static_cast<int32_t>(row);
  }
};

}  // namespace

Status mask_keys(const RowLists& lists, const TapBits& bits, int64_t num_taps, int64_t num_splits,
                 int64_t* keys, int32_t* rows, Stream stream) {
  const MaskKeys body{lists, bits, num_taps, keys, rows};
  return launch(body, Grid{num_blocks_for(lists.num_rows, MaskKeys::kThreads), num_splits}, stream);
}

}  // namespace pointseg::cuda
