// What a reduction does with one element; shared by the CPU and CUDA loops of pool and
// scatter_reduce.
#pragma once

#include "packing.h"

namespace pointseg {

// The integers that the ops pool and scatter_reduce take as `mode`.
enum class Reduce : int { sum = 0, mean = 1, max = 2, min = 3 };

// Whether `value` replaces `best`. The first of equal values stays, and so does the first NaN.
template <bool kMax, typename T>
POINTSEG_HD bool replaces(T value, T best) {
  const bool better = kMax ? value > best : value < best;
  return better || (value != value && best == best);
}

}  // namespace pointseg
