// The nearest code of one vector; shared by the CPU and CUDA loops of vector_quantize.
#pragma once

#include "packing.h"

namespace pointseg {

// The best of the scores that are offered: the smallest, of equal ones the first. A NaN is never
// the smallest; with nothing but NaN, entry 0. Entries are offered in order, from 0 on.
template <typename T>
struct NearestCode {
  int64_t entry = 0;
  T score = 0;

  POINTSEG_HD void offer(int64_t d, T offered) {
    if (d == 0 || offered < score || (score != score && offered == offered)) {
      entry = d;
      score = offered;
    }
  }
};

// The entry with the smallest |code|^2 / 2 - vector . code, which orders entries as the distance
// does. scores [entries] is scratch and holds |code|^2 / 2 on entry; codes [dims, entries].
template <typename T>
POINTSEG_HD int64_t nearest_code(const T* vector, const T* codes, int64_t dims, int64_t entries,
                                 T* scores) {
  for (int64_t m = 0; m < dims; ++m)
    for (int64_t d = 0; d < entries; ++d) scores[d] -= vector[m] * codes[m * entries + d];
  NearestCode<T> best;
  for (int64_t d = 0; d < entries; ++d) best.offer(d, scores[d]);
  return best.entry;
}

}  // namespace pointseg
