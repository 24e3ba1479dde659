// sparse_conv, sparse_conv_weight_grad: see pointseg/ops/sparse_conv.py for the contract.
#include "../../kernels/cpu/sparse_conv.h"

#include "map_pairs.h"
#include "storage.h"

namespace pointseg {
namespace {

// Any strides: the gradient of feats passes the transposed weights as a view.
void check_weight(const Tensor& weight, ScalarType feats) {
  STD_TORCH_CHECK(weight.dim() == 3, "weight: expected [K, C_in, C_out], got ", weight.dim(),
                  " dimensions");
  STD_TORCH_CHECK(weight.scalar_type() == feats ||
                      (is_storage_only(feats) && weight.scalar_type() == ScalarType::Float),
                  "weight: expected dtype ", feats, ", got ", weight.scalar_type());
}

Tensor sparse_conv_fused(const Tensor& feats, const Tensor& weight,
                         const std::optional<Tensor>& bias, const std::optional<Tensor>& residual,
                         bool relu, const Tensor& in_rows, const Tensor& out_rows,
                         const Tensor& segments, int64_t num_out) {
  const ScalarType dtype = feats.scalar_type();
  check_feats(feats, "feats");
  check_weight(weight, dtype);
  const cpu::MapPairs map = map_pairs(in_rows, out_rows, segments, num_out);
  const int64_t in_channels = feats.size(1), out_channels = weight.size(2);
  STD_TORCH_CHECK(weight.size(0) == map.num_taps && weight.size(1) == in_channels,
                  "weight: expected [", map.num_taps, ", ", in_channels, ", C_out], got [",
                  weight.size(0), ", ", weight.size(1), ", ", out_channels, "]");
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

  const Tensor in = widen(feats), w = widen(weight);
  const std::optional<Tensor> b = widen(bias), r = widen(residual);
  Tensor out = empty(in, {num_out, out_channels}, in.scalar_type());
  const Parallel parallel = torch_threads();
  THO_DISPATCH_V2(
      in.scalar_type(), "sparse_conv", AT_WRAP([&]() {
        const auto& kernels = cpu::conv_kernels<scalar_t>();
        Tensor packed = empty(in, {map.num_taps * kernels.packed_size(in_channels, out_channels)},
                              in.scalar_type());
        kernels.pack(cptr<scalar_t>(w), map.num_taps, in_channels, out_channels, w.stride(0),
                     w.stride(1), w.stride(2), mptr<scalar_t>(packed), parallel);
        kernels.forward(
            {cptr<scalar_t>(in), mptr<scalar_t>(out), in_channels, out_channels, num_out,
             b ? cptr<scalar_t>(*b) : nullptr, r ? cptr<scalar_t>(*r) : nullptr, relu, map},
            cptr<scalar_t>(packed), parallel);
      }),
      ScalarType::Float, ScalarType::Double);
  return store_as(out, dtype);
}

// The swapped map is there for the backward pass alone, which finds it among the inputs.
Tensor sparse_conv(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const Tensor& in_rows, const Tensor& out_rows, const Tensor& segments,
                   int64_t num_out, const std::optional<Tensor>&, const std::optional<Tensor>&,
                   const std::optional<Tensor>&) {
  return sparse_conv_fused(feats, weight, bias, std::nullopt, false, in_rows, out_rows, segments,
                           num_out);
}

Tensor sparse_conv_weight_grad(const Tensor& feats, const Tensor& grad_out, const Tensor& in_rows,
                               const Tensor& out_rows, const Tensor& segments) {
  check_feats(feats, "feats");
  check_feats(grad_out, "grad_out");
  STD_TORCH_CHECK(feats.scalar_type() == grad_out.scalar_type(),
                  "grad_out: expected the dtype of feats");
  const cpu::MapPairs map = map_pairs(in_rows, out_rows, segments, grad_out.size(0));
  const Tensor in = widen(feats), grad = widen(grad_out);
  const int64_t in_channels = feats.size(1), out_channels = grad_out.size(1);
  const cpu::GradSplit split =
      cpu::grad_split(map.num_blocks, map.num_taps, in_channels, out_channels);
  Tensor grad_weight = empty(in, {map.num_taps, in_channels, out_channels}, in.scalar_type());
  Tensor buffers =
      empty(in, {split.slices, map.num_taps, in_channels, out_channels}, in.scalar_type());
  THO_DISPATCH_V2(
      in.scalar_type(), "sparse_conv_weight_grad", AT_WRAP([&]() {
        cpu::conv_kernels<scalar_t>().weight_grad(
            {cptr<scalar_t>(in), cptr<scalar_t>(grad), in_channels, out_channels, map, split},
            mptr<scalar_t>(buffers), mptr<scalar_t>(grad_weight), torch_threads());
      }),
      ScalarType::Float, ScalarType::Double);
  return grad_weight;
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "sparse_conv(Tensor feats, Tensor weight, Tensor? bias, Tensor in_rows, Tensor out_rows, "
      "Tensor segments, SymInt num_out, Tensor? swapped_in_rows, Tensor? swapped_out_rows, "
      "Tensor? swapped_segments) -> Tensor");
  m.def(
      "sparse_conv_fused(Tensor feats, Tensor weight, Tensor? bias, Tensor? residual, bool relu, "
      "Tensor in_rows, Tensor out_rows, Tensor segments, SymInt num_out) -> Tensor");
  m.def(
      "sparse_conv_weight_grad(Tensor feats, Tensor grad_out, Tensor in_rows, Tensor out_rows, "
      "Tensor segments) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("sparse_conv", TORCH_BOX(&sparse_conv));
  m.impl("sparse_conv_fused", TORCH_BOX(&sparse_conv_fused));
  m.impl("sparse_conv_weight_grad", TORCH_BOX(&sparse_conv_weight_grad));
}

}  // namespace
}  // namespace pointseg
