// depthwise_conv, depthwise_conv_weight_grad: see pointseg/ops/depthwise_conv.py for the contract.
#include "../../kernels/cpu/depthwise_conv.h"

#include "map_pairs.h"
#include "storage.h"

namespace pointseg {
namespace {

// The swapped map is there for the backward pass alone, which finds it among the inputs.
Tensor depthwise_conv(const Tensor& feats, const Tensor& weight, const Tensor& in_rows,
                      const Tensor& out_rows, const Tensor& segments, int64_t num_out,
                      const std::optional<Tensor>&, const std::optional<Tensor>&,
                      const std::optional<Tensor>&) {
  const ScalarType dtype = feats.scalar_type();
  check_feats(feats, "feats");
  check_parameter(weight, "weight", 2, dtype);
  const cpu::MapPairs map = map_pairs(in_rows, out_rows, segments);
  STD_TORCH_CHECK(weight.size(0) == map.num_taps && weight.size(1) == feats.size(1),
                  "weight: expected [", map.num_taps, ", ", feats.size(1), "], got [",
                  weight.size(0), ", ", weight.size(1), "]");
  check_count(num_out, "num_out");
  const Tensor in = widen(feats), w = widen(weight);
  Tensor out = zeros(in, {num_out, feats.size(1)}, in.scalar_type());
  THO_DISPATCH_V2(in.scalar_type(), "depthwise_conv", AT_WRAP([&]() {
                    cpu::depthwise_kernels<scalar_t>().forward(
                        cptr<scalar_t>(in), cptr<scalar_t>(w), mptr<scalar_t>(out), feats.size(1),
                        map, torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(out, dtype);
}

Tensor depthwise_conv_weight_grad(const Tensor& feats, const Tensor& grad_out,
                                  const Tensor& in_rows, const Tensor& out_rows,
                                  const Tensor& segments) {
  check_feats(feats, "feats");
  check_matrix(grad_out, "grad_out", 2, feats.scalar_type());
  STD_TORCH_CHECK(grad_out.size(1) == feats.size(1), "grad_out: expected ", feats.size(1),
                  " channels, got ", grad_out.size(1));
  const cpu::MapPairs map = map_pairs(in_rows, out_rows, segments);
  const Tensor in = widen(feats), grad = widen(grad_out);
  Tensor grad_weight = empty(in, {map.num_taps, feats.size(1)}, in.scalar_type());
  THO_DISPATCH_V2(in.scalar_type(), "depthwise_conv_weight_grad", AT_WRAP([&]() {
                    cpu::depthwise_kernels<scalar_t>().weight_grad(
                        cptr<scalar_t>(in), cptr<scalar_t>(grad), mptr<scalar_t>(grad_weight),
                        feats.size(1), map, torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return grad_weight;
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "depthwise_conv(Tensor feats, Tensor weight, Tensor in_rows, Tensor out_rows, Tensor "
      "segments, "
      "SymInt num_out, Tensor? swapped_in_rows, Tensor? swapped_out_rows, Tensor? "
      "swapped_segments) "
      "-> Tensor");
  m.def(
      "depthwise_conv_weight_grad(Tensor feats, Tensor grad_out, Tensor in_rows, Tensor out_rows, "
      "Tensor segments) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("depthwise_conv", TORCH_BOX(&depthwise_conv));
  m.impl("depthwise_conv_weight_grad", TORCH_BOX(&depthwise_conv_weight_grad));
}

}  // namespace
}  // namespace pointseg
