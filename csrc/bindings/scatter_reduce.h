// What the bindings of scatter_reduce check on every device.
#pragma once

#include "../kernels/reduce.h"
#include "storage.h"

namespace pointseg {

inline bool is_extreme(Reduce reduce) { return reduce == Reduce::max || reduce == Reduce::min; }

inline Reduce scatter_mode(int64_t mode) {
  STD_TORCH_CHECK(mode >= 0 && mode <= static_cast<int64_t>(Reduce::min),
                  "mode: expected 0 (sum), 1 (mean), 2 (max) or 3 (min), got ", mode);
  return static_cast<Reduce>(mode);
}

inline Reduce check_scatter(const Tensor& src, const Tensor& index, int64_t num_out, int64_t mode) {
  check_feats(src, "src");
  check_matrix(index, "index", 1, ScalarType::Long);
  check_count(num_out, "num_out");
  STD_TORCH_CHECK(index.size(0) == src.size(0), "index: expected ", src.size(0), " entries, got ",
                  index.size(0));
  return scatter_mode(mode);
}

inline Reduce check_scatter_backward(const Tensor& grad_out, const Tensor& index,
                                     const Tensor& saved, int64_t mode) {
  check_feats(grad_out, "grad_out");
  check_matrix(index, "index", 1, ScalarType::Long);
  const Reduce reduce = scatter_mode(mode);
  check_matrix(saved, "saved", is_extreme(reduce) ? 2 : 1, ScalarType::Long);
  STD_TORCH_CHECK(saved.size(0) == grad_out.size(0), "saved: expected ", grad_out.size(0),
                  " rows, got ", saved.size(0));
  return reduce;
}

}  // namespace pointseg
