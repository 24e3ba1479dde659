// What the ops downsample and downsample_map check of shapes on every device.
#pragma once

#include "common.h"
#include "order.h"

namespace pointseg {

inline void check_downsample(const Tensor& keys, int64_t stride) {
  check_matrix(keys, "keys", 1, ScalarType::Long);
  STD_TORCH_CHECK(stride >= 1 && stride <= kMaxStride, "stride: expected 1..", kMaxStride, ", got ",
                  stride);
}

inline void check_downsample_map(const Tensor& keys, const std::optional<Tensor>& order,
                                 const Tensor& coarse_keys, const Tensor& parents,
                                 int64_t fine_stride, int64_t size) {
  check_matrix(keys, "keys", 1, ScalarType::Long);
  check_matrix(coarse_keys, "coarse_keys", 1, ScalarType::Long);
  check_matrix(parents, "parents", 1, ScalarType::Int);
  STD_TORCH_CHECK(parents.size(0) == keys.size(0), "parents: expected ", keys.size(0), ", got ",
                  parents.size(0));
  STD_TORCH_CHECK(fine_stride >= 1 && size >= 1 && fine_stride * size <= kMaxStride,
                  "fine_stride, size: expected 1..", kMaxStride, " as their product, got ",
                  fine_stride, " and ", size);
  check_order(order, "order", keys.size(0));
}

}  // namespace pointseg
