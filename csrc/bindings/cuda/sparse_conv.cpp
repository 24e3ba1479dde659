// sparse_conv and sparse_conv_fused on CUDA: the schemas are in bindings/cpu/sparse_conv.cpp, the
// contract in pointseg/ops/sparse_conv.py.
#include "../storage.h"
#include "common.h"
#include "conv_by_tap.h"

namespace pointseg {
namespace {

Tensor sparse_conv_fused(const Tensor& feats, const Tensor& weight,
                         const std::optional<Tensor>& bias, const std::optional<Tensor>& residual,
                         bool relu, const std::vector<Tensor>& arrays, int64_t num_out,
                         int64_t algorithm) {
  check_feats(feats, "feats");
  STD_TORCH_CHECK(algorithm == 0, "algorithm: expected 0, got ", algorithm);
  return conv_by_tap(feats, weight, bias, residual, relu, arrays, num_out);
}

Tensor sparse_conv(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::vector<Tensor>& arrays, int64_t num_out, const std::vector<Tensor>&,
                   int64_t algorithm) {
  return sparse_conv_fused(feats, weight, bias, std::nullopt, false, arrays, num_out, algorithm);
}

POINTSEG_CUDA_OPS(m) {
  m.impl("sparse_conv", TORCH_BOX(&sparse_conv));
  m.impl("sparse_conv_fused", TORCH_BOX(&sparse_conv_fused));
}

}  // namespace
}  // namespace pointseg
