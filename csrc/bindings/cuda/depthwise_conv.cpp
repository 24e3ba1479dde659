// depthwise_conv and its gradient on CUDA: the schemas are in bindings/cpu/depthwise_conv.cpp, the
// contract in pointseg/ops/depthwise_conv.py.
#include "../depthwise_conv.h"

#include "../../kernels/cuda/depthwise_conv.h"
#include "../../kernels/cuda/tap_sums.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor depthwise_conv(const Tensor& feats, const Tensor& weight, const Tensor& row_starts,
                      const Tensor& taps, const Tensor& neighbors, const std::optional<Tensor>&,
                      const std::optional<Tensor>&, const std::optional<Tensor>&) {
  const OnDevice device(feats);
  check_depthwise(feats, weight);
  const RowLists lists = row_lists(row_starts, taps, neighbors);
  const Tensor w = widen(weight);
  Tensor out = empty(feats, {lists.num_rows, feats.size(1)}, feats.scalar_type());
  dispatch_feats(feats.scalar_type(), "depthwise_conv", [&]<typename T>(T) {
    check_launch(cuda::depthwise_conv(cptr<T>(feats), cptr<cuda::Sum<T>>(w), mptr<T>(out),
                                      feats.size(1), w.size(0), lists, device.stream()),
                 "depthwise_conv", feats);
  });
  return out;
}

Tensor depthwise_conv_weight_grad(const Tensor& feats, const Tensor& grad_out,
                                  const Tensor& row_starts, const Tensor& taps,
                                  const Tensor& neighbors, int64_t num_taps) {
  const OnDevice device(feats);
  const RowLists lists = row_lists(row_starts, taps, neighbors);
  check_depthwise_grad(feats, grad_out, num_taps, lists);
  const ScalarType dtype = compute_dtype(feats.scalar_type());
  const int64_t channels = feats.size(1);
  Tensor grad_weight = empty(feats, {num_taps, channels}, dtype);
  Tensor buffers = empty(feats, {cuda::num_tap_slices(lists.num_rows), num_taps, channels}, dtype);
  dispatch_feats(feats.scalar_type(), "depthwise_conv_weight_grad", [&]<typename T>(T) {
    using S = cuda::Sum<T>;
    const cuda::TapSums<T> sums{.lists = {lists, nullptr, nullptr, 1},
                                .values = cptr<T>(feats),
                                .value_groups = 1,
                                .grads = cptr<T>(grad_out),
                                .grad_groups = 1,
                                .choice = {},
                                .channels = channels,
                                .num_weight_rows = num_taps};
    check_launch(cuda::add_by_tap(sums, mptr<S>(buffers), mptr<S>(grad_weight), device.stream()),
                 "depthwise_conv_weight_grad", feats);
  });
  return grad_weight;
}

POINTSEG_CUDA_OPS(m) {
  m.impl("depthwise_conv", TORCH_BOX(&depthwise_conv));
  m.impl("depthwise_conv_weight_grad", TORCH_BOX(&depthwise_conv_weight_grad));
}

}  // namespace
}  // namespace pointseg
