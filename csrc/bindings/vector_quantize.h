// Shapes of vector_quantize, checked alike on every device.
#pragma once

#include "storage.h"

namespace pointseg {

inline void check_quantize(const Tensor& vectors, const Tensor& codes) {
  check_feats(vectors, "vectors", 3);
  check_parameter(codes, "codes", 3, vectors.scalar_type());
  const int64_t heads = vectors.size(1), dims = vectors.size(2), entries = codes.size(1);
  STD_TORCH_CHECK(codes.size(0) == heads && codes.size(2) == dims && entries > 0,
                  "codes: expected [", heads, ", entries, ", dims, "], got [", codes.size(0), ", ",
                  entries, ", ", codes.size(2), "]");
}

}  // namespace pointseg
