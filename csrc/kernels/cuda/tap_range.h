// How the taps of a convolution are split in ranges.
#pragma once

#include <cstdint>

#include "../packing.h"

namespace pointseg::cuda {

struct TapRange {
  int begin, end;
};

// Range `part` of `parts`: equal ones, but for one tap.
POINTSEG_HD TapRange taps_of(int64_t part, int64_t parts, int64_t num_taps) {
  return {static_cast<int>(part * num_taps / parts),
          static_cast<int>((part + 1) * num_taps / parts)};
}

}  // namespace pointseg::cuda
