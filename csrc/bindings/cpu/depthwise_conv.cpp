// depthwise_conv, depthwise_conv_weight_grad: see pointseg/ops/depthwise_conv.py for the contract.
#include "../../kernels/cpu/depthwise_conv.h"

#include "../../kernels/cpu/row_slices.h"
#include "../storage.h"
#include "common.h"
#include "row_lists.h"

namespace pointseg {
namespace {

// The lists of the swapped map are there for the backward pass alone, which finds them among the
// inputs.
Tensor depthwise_conv(const Tensor& feats, const Tensor& weight, const Tensor& row_starts,
                      const Tensor& taps, const Tensor& neighbors, const std::optional<Tensor>&,
                      const std::optional<Tensor>&, const std::optional<Tensor>&) {
  const ScalarType dtype = feats.scalar_type();
  check_feats(feats, "feats");
  check_parameter(weight, "weight", 2, dtype);
  const RowLists lists = host_row_lists(row_starts, taps, neighbors);
  STD_TORCH_CHECK(weight.size(1) == feats.size(1), "weight: expected [K, ", feats.size(1),
                  "], got [", weight.size(0), ", ", weight.size(1), "]");
  const Tensor in = widen(feats), w = widen(weight);
  Tensor packed = torch::stable::empty_like(w);
  Tensor out = empty(in, {lists.num_rows, feats.size(1)}, in.scalar_type());
  THO_DISPATCH_V2(in.scalar_type(), "depthwise_conv", AT_WRAP([&]() {
                    cpu::depthwise_kernels<scalar_t>().forward(
                        cptr<scalar_t>(in), cptr<scalar_t>(w), mptr<scalar_t>(out), feats.size(1),
                        w.size(0), lists, mptr<scalar_t>(packed), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(out, dtype);
}

Tensor depthwise_conv_weight_grad(const Tensor& feats, const Tensor& grad_out,
                                  const Tensor& row_starts, const Tensor& taps,
                                  const Tensor& neighbors, int64_t num_taps) {
  check_feats(feats, "feats");
  check_matrix(grad_out, "grad_out", 2, feats.scalar_type());
  check_count(num_taps, "num_taps");
  const RowLists lists = host_row_lists(row_starts, taps, neighbors);
  const int64_t channels = feats.size(1);
  STD_TORCH_CHECK(grad_out.size(0) == lists.num_rows && grad_out.size(1) == channels,
                  "grad_out: expected [", lists.num_rows, ", ", channels, "], got [",
                  grad_out.size(0), ", ", grad_out.size(1), "]");
  const Tensor in = widen(feats), grad = widen(grad_out);
  Tensor grad_weight = empty(in, {num_taps, channels}, in.scalar_type());
  Tensor packed = torch::stable::empty_like(grad_weight);
  Tensor buffers =
      empty(in, {cpu::num_slices(lists.num_rows), num_taps, channels}, in.scalar_type());
  THO_DISPATCH_V2(in.scalar_type(), "depthwise_conv_weight_grad", AT_WRAP([&]() {
                    cpu::depthwise_kernels<scalar_t>().weight_grad(
                        cptr<scalar_t>(in), cptr<scalar_t>(grad), mptr<scalar_t>(grad_weight),
                        channels, num_taps, lists, mptr<scalar_t>(packed), mptr<scalar_t>(buffers),
                        torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return grad_weight;
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "depthwise_conv(Tensor feats, Tensor weight, Tensor row_starts, Tensor taps, Tensor "
      "neighbors, Tensor? swapped_row_starts, Tensor? swapped_taps, Tensor? swapped_neighbors) "
      "-> Tensor");
  m.def(
      "depthwise_conv_weight_grad(Tensor feats, Tensor grad_out, Tensor row_starts, Tensor taps, "
      "Tensor neighbors, SymInt num_taps) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("depthwise_conv", TORCH_BOX(&depthwise_conv));
  m.impl("depthwise_conv_weight_grad", TORCH_BOX(&depthwise_conv_weight_grad));
}

}  // namespace
}  // namespace pointseg
