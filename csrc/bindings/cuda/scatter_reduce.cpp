// scatter_reduce, scatter_reduce_backward on CUDA: the schemas are in
// bindings/cpu/scatter_reduce.cpp, the contract in pointseg/ops/scatter_reduce.py.
#include "../../kernels/cuda/scatter_reduce.h"

#include "../scatter_reduce.h"
#include "group_rows.h"

namespace pointseg {
namespace {

// The second result is what the backward pass needs: winning rows [num_out, C] for max and min,
// sizes of the bins [num_out] otherwise.
std::tuple<Tensor, Tensor> scatter_reduce(const Tensor& src, const Tensor& index, int64_t num_out,
                                          int64_t mode) {
  const Reduce reduce = check_scatter(src, index, num_out, mode);
  const OnDevice device(src);
  const int64_t channels = src.size(1);
  const GroupedRows rows(index, cptr<int64_t>(index), num_out, "scatter_reduce", device);
  const bool extreme = is_extreme(reduce);
  Tensor out = empty(src, {num_out, channels}, src.scalar_type());
  Tensor saved = extreme ? empty(index, {num_out, channels}, ScalarType::Long)
                         : empty(index, {num_out}, ScalarType::Long);
  const Tensor places = empty(src, {cuda::scatter_places(src.size(0)), channels},
                              extreme ? ScalarType::Int : compute_dtype(src.scalar_type()));
  dispatch_feats(src.scalar_type(), "scatter_reduce", [&](auto number) {
    using T = decltype(number);
    const auto run = [&] {
      if (extreme)
        return cuda::extreme_bins(cptr<T>(src), channels, reduce == Reduce::max, rows.groups(),
                                  mptr<int32_t>(places), mptr<T>(out), mptr<int64_t>(saved),
                                  device.stream());
      const cuda::BinSum<T> sum{cptr<T>(src),
                                nullptr,
                                1,
                                channels,
                                reduce == Reduce::mean,
                                mptr<cuda::Sum<T>>(places),
                                mptr<T>(out),
                                mptr<int64_t>(saved)};
      return cuda::sum_bins(sum, rows.groups(), device.stream());
    };
    check_launch(run(), "scatter_reduce", src);
  });
  return {out, saved};
}

Tensor scatter_reduce_backward(const Tensor& grad_out, const Tensor& index, const Tensor& saved,
                               int64_t mode) {
  const Reduce reduce = check_scatter_backward(grad_out, index, saved, mode);
  const OnDevice device(grad_out);
  const int64_t rows = index.size(0), bins = grad_out.size(0), channels = grad_out.size(1);
  Tensor grad_src = empty(grad_out, {rows, channels}, grad_out.scalar_type());
  dispatch_feats(grad_out.scalar_type(), "scatter_reduce_backward", [&](auto number) {
    using T = decltype(number);
    const auto *at = cptr<int64_t>(index), *from = cptr<int64_t>(saved);
    const auto run = [&] {
      if (is_extreme(reduce))
        return cuda::extreme_bins_grad(cptr<T>(grad_out), at, from, rows, bins, channels,
                                       mptr<T>(grad_src), device.stream());
      return cuda::sum_bins_grad(cptr<T>(grad_out), at, reduce == Reduce::mean ? from : nullptr,
                                 rows, bins, channels, mptr<T>(grad_src), device.stream());
    };
    check_launch(run(), "scatter_reduce_backward", grad_out);
  });
  return grad_src;
}

POINTSEG_CUDA_OPS(m) {
  m.impl("scatter_reduce", TORCH_BOX(&scatter_reduce));
  m.impl("scatter_reduce_backward", TORCH_BOX(&scatter_reduce_backward));
}

}  // namespace
}  // namespace pointseg
