// The nearest code of one vector; shared by the CPU and CUDA loops of vector_quantize.
#pragma once

#include "packing.h"

namespace pointseg {

// The entry with the smallest |code|^2 / 2 - vector . code, which orders entries as the distance
// does; of equal ones the lowest. A NaN is never the smallest; with nothing but NaN, entry 0.
// scores [entries] is scratch and holds |code|^2 / 2 on entry; codes [dims, entries].
template <typename T>
POINTSEG_HD int64_t nearest_code(const T* vector, const T* codes, int64_t dims, int64_t entries,
                                 T* scores) {
  for (int64_t m = 0; m < dims; ++m)
    for (int64_t d = 0; d < entries; ++d) scores[d] -= vector[m] * codes[m * entries + d];
  int64_t best = 0;
  for (int64_t d = 1; d < entries; ++d)
    if (scores[d] < scores[best] || (scores[best] != scores[best] && scores[d] == scores[d]))
      best = d;
  return best;
}

}  // namespace pointseg
