// What the bindings of batch_norm check on every device.
#pragma once

#include <optional>

#include "storage.h"

namespace pointseg {

// One number per channel.
inline void check_channels(const Tensor& t, const char* name, const Tensor& feats) {
  check_feats(t, name, 1);
  STD_TORCH_CHECK(t.size(0) == feats.size(1), name, ": expected ", feats.size(1),
                  " values, one per channel, got ", t.size(0));
}

inline void check_like(const Tensor& t, const char* name, const Tensor& feats) {
  check_matrix(t, name, 2, feats.scalar_type());
  STD_TORCH_CHECK(t.size(0) == feats.size(0) && t.size(1) == feats.size(1), name, ": expected [",
                  feats.size(0), ", ", feats.size(1), "], got [", t.size(0), ", ", t.size(1), "]");
}

inline void check_batch_norm(const Tensor& feats, const std::optional<Tensor>& residual) {
  check_feats(feats, "feats");
  if (residual) check_like(*residual, "residual", feats);
}

inline void check_batch_norm_grad(const Tensor& grad_out, const Tensor& feats,
                                  const std::optional<Tensor>& out, bool relu,
                                  bool wants_residual) {
  check_feats(feats, "feats");
  check_like(grad_out, "grad_out", feats);
  if (out) check_like(*out, "out", feats);
  STD_TORCH_CHECK(!wants_residual || (relu && out),
                  "out: expected the result, which the gradient of the residual needs");
}

}  // namespace pointseg
