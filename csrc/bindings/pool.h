// What the bindings of pool check on every device.
#pragma once

#include "../kernels/reduce.h"
#include "storage.h"

namespace pointseg {

inline Reduce pool_mode(int64_t mode) {
  STD_TORCH_CHECK(mode >= 0 && mode <= static_cast<int64_t>(Reduce::max),
                  "mode: expected 0 (sum), 1 (mean) or 2 (max), got ", mode);
  return static_cast<Reduce>(mode);
}

inline Reduce check_pool_backward(const Tensor& grad_out, const Tensor& saved, int64_t mode) {
  check_feats(grad_out, "grad_out");
  const Reduce reduce = pool_mode(mode);
  check_matrix(saved, "saved", reduce == Reduce::max ? 2 : 1, ScalarType::Int);
  STD_TORCH_CHECK(saved.size(0) == grad_out.size(0), "saved: expected ", grad_out.size(0),
                  " rows, got ", saved.size(0));
  return reduce;
}

}  // namespace pointseg
