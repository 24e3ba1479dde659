// scatter_reduce, scatter_reduce_backward: see pointseg/ops/scatter_reduce.py for the contract.
#include "../../kernels/cpu/scatter_reduce.h"

#include "../../kernels/cpu/group_rows.h"
#include "../scatter_reduce.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor bin_sizes(const Tensor& starts, int64_t num_out) {
  Tensor counts = empty(starts, {num_out}, ScalarType::Long);
  const auto* s = cptr<int64_t>(starts);
  auto* n = mptr<int64_t>(counts);
  for (int64_t bin = 0; bin < num_out; ++bin) n[bin] = s[bin + 1] - s[bin];
  return counts;
}

// The second result is what the backward pass needs: winning rows [num_out, C] for max and min,
// sizes of the bins [num_out] otherwise.
std::tuple<Tensor, Tensor> scatter_reduce(const Tensor& src, const Tensor& index, int64_t num_out,
                                          int64_t mode) {
  const Reduce reduce = check_scatter(src, index, num_out, mode);
  const int64_t num_rows = src.size(0), channels = src.size(1);
  Tensor order = empty(index, {num_rows}, ScalarType::Long);
  Tensor starts = empty(index, {num_out + 1}, ScalarType::Long);
  const int64_t bad = cpu::group_rows(cptr<int64_t>(index), num_rows, num_out, false,
                                      mptr<int64_t>(order), mptr<int64_t>(starts));
  STD_TORCH_CHECK(bad < 0, "index: expected 0 to ", num_out - 1, ", got ",
                  cptr<int64_t>(index)[bad], " at row ", bad);
  const cpu::RowGroups groups{cptr<int64_t>(order), cptr<int64_t>(starts), num_out};
  const int64_t chunks = cpu::count_chunks(groups);
  const Parallel parallel = torch_threads();
  const Tensor in = widen(src);
  Tensor out = empty(in, {num_out, channels}, in.scalar_type());
  Tensor saved = is_extreme(reduce) ? empty(index, {num_out, channels}, ScalarType::Long)
                                    : bin_sizes(starts, num_out);
  Tensor chunk =
      empty(in, {chunks, channels}, is_extreme(reduce) ? ScalarType::Long : in.scalar_type());
  THO_DISPATCH_V2(in.scalar_type(), "scatter_reduce", AT_WRAP([&]() {
                    const auto& kernels = cpu::scatter_kernels<scalar_t>();
                    if (is_extreme(reduce)) {
                      kernels.extreme(cptr<scalar_t>(in), mptr<scalar_t>(out), mptr<int64_t>(saved),
                                      mptr<int64_t>(chunk), channels, groups, reduce == Reduce::max,
                                      parallel);
                    } else {
                      kernels.sum(cptr<scalar_t>(in), mptr<scalar_t>(out), mptr<scalar_t>(chunk),
                                  channels, groups, reduce == Reduce::mean, parallel);
                    }
                  }),
                  ScalarType::Float, ScalarType::Double);
  return {store_as(out, src.scalar_type()), saved};
}

Tensor scatter_reduce_backward(const Tensor& grad_out, const Tensor& index, const Tensor& saved,
                               int64_t mode) {
  const Reduce reduce = check_scatter_backward(grad_out, index, saved, mode);
  const int64_t num_rows = index.size(0), channels = grad_out.size(1);
  const Tensor grad = widen(grad_out);
  Tensor grad_src = empty(grad, {num_rows, channels}, grad.scalar_type());
  const Parallel parallel = torch_threads();
  THO_DISPATCH_V2(grad.scalar_type(), "scatter_reduce_backward", AT_WRAP([&]() {
                    const auto& kernels = cpu::scatter_kernels<scalar_t>();
                    if (is_extreme(reduce)) {
                      kernels.extreme_grad(cptr<scalar_t>(grad), cptr<int64_t>(index),
                                           cptr<int64_t>(saved), mptr<scalar_t>(grad_src), num_rows,
                                           channels, parallel);
                    } else {
                      kernels.sum_grad(cptr<scalar_t>(grad), cptr<int64_t>(index),
                                       reduce == Reduce::mean ? cptr<int64_t>(saved) : nullptr,
                                       mptr<scalar_t>(grad_src), num_rows, channels, parallel);
                    }
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(grad_src, grad_out.scalar_type());
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "scatter_reduce(Tensor src, Tensor index, SymInt num_out, int mode) -> (Tensor out, Tensor "
      "saved)");
  m.def("scatter_reduce_backward(Tensor grad_out, Tensor index, Tensor saved, int mode) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("scatter_reduce", TORCH_BOX(&scatter_reduce));
  m.impl("scatter_reduce_backward", TORCH_BOX(&scatter_reduce_backward));
}

}  // namespace
}  // namespace pointseg
