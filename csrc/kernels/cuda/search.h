// Searching in sorted keys.
#pragma once

#include <cstdint>

#include "../packing.h"

namespace pointseg::cuda {

// First place in [begin, end) whose key is not below `key`; end where there is none.
POINTSEG_HD int64_t first_not_below(const int64_t* keys, int64_t begin, int64_t end, int64_t key) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (keys[middle] < key) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// The same where it is expected a few dozen places behind `begin`.
POINTSEG_HD int64_t first_not_below_near(const int64_t* keys, int64_t begin, int64_t end,
                                         int64_t key) {
  int64_t step = 32;
  while (begin + step < end && keys[begin + step - 1] < key) {
    begin += step;
    step *= 2;
  }
  return first_not_below(keys, begin, begin + step < end ? begin + step : end, key);
}

}  // namespace pointseg::cuda
