// Shapes of depthwise_conv and its gradient, checked alike on every device.
#pragma once

#include "row_lists.h"
#include "storage.h"

namespace pointseg {

inline void check_depthwise(const Tensor& feats, const Tensor& weight) {
  check_feats(feats, "feats");
  check_parameter(weight, "weight", 2, feats.scalar_type());
  STD_TORCH_CHECK(weight.size(1) == feats.size(1), "weight: expected [K, ", feats.size(1),
                  "], got [", weight.size(0), ", ", weight.size(1), "]");
}

inline void check_depthwise_grad(const Tensor& feats, const Tensor& grad_out, int64_t num_taps,
                                 const RowLists& lists) {
  check_feats(feats, "feats");
  check_matrix(grad_out, "grad_out", 2, feats.scalar_type());
  check_count(num_taps, "num_taps");
  const int64_t channels = feats.size(1);
  STD_TORCH_CHECK(grad_out.size(0) == lists.num_rows && grad_out.size(1) == channels,
                  "grad_out: expected [", lists.num_rows, ", ", channels, "], got [",
                  grad_out.size(0), ", ", grad_out.size(1), "]");
}

}  // namespace pointseg
