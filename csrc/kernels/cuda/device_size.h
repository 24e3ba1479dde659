// A number that the device knows exactly, and the host a bound of.
//
// Launches are made for the bound, and threads beyond the number do nothing: so work whose size
// is the result of other work is queued without waiting for it.
#pragma once

#include <cstdint>

#include "../packing.h"

namespace pointseg::cuda {

struct DeviceSize {
  int64_t bound;
  const int64_t* exact;  // on the device; null: the bound is exact

  DeviceSize(int64_t size) : bound(size), exact(nullptr) {}  // NOLINT: sizes convert
  DeviceSize(int64_t bound, const int64_t* exact) : bound(bound), exact(exact) {}

  POINTSEG_HD int64_t get() const { return exact == nullptr ? bound : *exact; }
};

}  // namespace pointseg::cuda
