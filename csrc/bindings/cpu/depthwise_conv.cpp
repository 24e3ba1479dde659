// depthwise_conv, depthwise_conv_weight_grad: see pointseg/ops/depthwise_conv.py for the contract.
#include "../../kernels/cpu/depthwise_conv.h"

#include "../../kernels/cpu/row_slices.h"
#include "../depthwise_conv.h"
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
  check_depthwise(feats, weight);
  const RowLists lists = host_row_lists(row_starts, taps, neighbors);
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
  const RowLists lists = host_row_lists(row_starts, taps, neighbors);
  check_depthwise_grad(feats, grad_out, num_taps, lists);
  const int64_t channels = feats.size(1);
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
