// What the bindings of sparse_conv check alike on every device.
#pragma once

#include "common.h"
#include "map_pairs.h"
#include "storage.h"

namespace pointseg {

// The weight may have any strides: the gradient of feats passes the transposed one as a view.
inline void check_conv(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                       const std::optional<Tensor>& residual, int64_t num_taps, int64_t num_out) {
  const ScalarType dtype = feats.scalar_type();
  check_feats(feats, "feats");
  STD_TORCH_CHECK(weight.dim() == 3, "weight: expected [K, C_in, C_out], got ", weight.dim(),
                  " dimensions");
  STD_TORCH_CHECK(weight.scalar_type() == dtype ||
                      (is_storage_only(dtype) && weight.scalar_type() == ScalarType::Float),
                  "weight: expected dtype ", dtype, ", got ", weight.scalar_type());
  const int64_t in_channels = feats.size(1), out_channels = weight.size(2);
  STD_TORCH_CHECK(weight.size(0) == num_taps && weight.size(1) == in_channels, "weight: expected [",
                  num_taps, ", ", in_channels, ", C_out], got [", weight.size(0), ", ",
                  weight.size(1), ", ", out_channels, "]");
  if (bias) {
    check_parameter(*bias, "bias", 1, dtype);
    STD_TORCH_CHECK(bias->size(0) == out_channels, "bias: expected [", out_channels, "], got [",
                    bias->size(0), "]");
  }
  if (residual) {
    check_matrix(*residual, "residual", 2, dtype);
    STD_TORCH_CHECK(residual->size(0) == num_out && residual->size(1) == out_channels,
                    "residual: expected [", num_out, ", ", out_channels, "], got [",
                    residual->size(0), ", ", residual->size(1), "]");
  }
}

inline void check_conv_weight_grad(const Tensor& feats, const Tensor& grad_out) {
  check_feats(feats, "feats");
  check_feats(grad_out, "grad_out");
  STD_TORCH_CHECK(feats.scalar_type() == grad_out.scalar_type(),
                  "grad_out: expected the dtype of feats");
}

}  // namespace pointseg
