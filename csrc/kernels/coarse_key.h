// Rounding packed keys down to a coarser grid.
#pragma once

#include "packing.h"

namespace pointseg {

constexpr int64_t kAxisMask = (int64_t{1} << kAxisBits) - 1;

// Rounds one field of a key down: coordinates to a multiple of the stride, toward minus infinity.
struct Floor {
  int64_t stride;
  int64_t lift;  // a multiple of the stride that makes every coordinate positive

  explicit Floor(int64_t s) : stride(s), lift((kAxisBias + s - 1) / s * s) {}

  POINTSEG_HD int64_t operator()(int64_t field) const {
    const int64_t lifted = field - kAxisBias + lift;
    // A division costs as much as all the rest; nearly all strides are powers of two.
    const int64_t rest = (stride & (stride - 1)) == 0 ? lifted & (stride - 1) : lifted % stride;
    return field - rest;
  }
};

// Batch and x of a key, and y.
POINTSEG_HD int64_t slab_of(int64_t key) { return key >> (2 * kAxisBits); }
POINTSEG_HD int64_t y_of(int64_t key) { return (key >> kAxisBits) & kAxisMask; }

// Batch in the high bits, rounded x in the low ones.
POINTSEG_HD int64_t coarse_slab(int64_t slab, const Floor& floor) {
  return (slab & ~kAxisMask) | floor(slab & kAxisMask);
}

POINTSEG_HD int64_t coarse_key(int64_t key, const Floor& floor) {
  return (coarse_slab(slab_of(key), floor) << (2 * kAxisBits)) | (floor(y_of(key)) << kAxisBits) |
         floor(key & kAxisMask);
}

}  // namespace pointseg
