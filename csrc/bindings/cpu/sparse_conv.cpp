// sparse_conv, sparse_conv_weight_grad: see pointseg/ops/sparse_conv.py for the contract.
#include "../../kernels/cpu/sparse_conv.h"

#include "common.h"

namespace pointseg {
namespace {

void check_conv(const Tensor& feats, const char* name, int64_t channels) {
  STD_TORCH_CHECK(feats.dim() == 2 && feats.is_contiguous(), name,
                  ": expected a contiguous [N, C] tensor");
  STD_TORCH_CHECK(channels < 0 || feats.size(1) == channels, name, ": expected ", channels,
                  " channels, got ", feats.size(1));
}

// Sixteen-bit storage is computed in float32 from end to end: the sums of all taps never round in
// between.
bool is_half(ScalarType t) { return t == ScalarType::Half || t == ScalarType::BFloat16; }

Tensor widened(const Tensor& t) {
  return is_half(t.scalar_type()) ? torch::stable::to(t, ScalarType::Float) : t;
}

Tensor sparse_conv(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const Tensor& in_rows, const Tensor& out_rows, const Tensor& segments,
                   int64_t num_out) {
  const ScalarType dtype = feats.scalar_type();
  check_conv(feats, "feats", -1);
  STD_TORCH_CHECK(weight.dim() == 3 && weight.scalar_type() == dtype,
                  "weight: expected [K, C_in, C_out] in the dtype of feats");
  const MapArrays map = map_arrays(in_rows, out_rows, segments);
  STD_TORCH_CHECK(weight.size(0) == map.num_taps && weight.size(1) == feats.size(1),
                  "weight: expected [", map.num_taps, ", ", feats.size(1), ", C_out], got [",
                  weight.size(0), ", ", weight.size(1), ", ", weight.size(2), "]");
  STD_TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == weight.size(2) &&
                            bias->is_contiguous() && bias->scalar_type() == dtype),
                  "bias: expected a contiguous [C_out] tensor in the dtype of feats");
  STD_TORCH_CHECK(num_out >= 0, "num_out: expected a count, got ", num_out);

  const Tensor in = widened(feats), w = widened(weight);
  const int64_t in_channels = feats.size(1), out_channels = weight.size(2);
  Tensor out = zeros(in, {num_out, out_channels}, in.scalar_type());
  if (bias) torch::stable::copy_(out, torch::stable::unsqueeze(*bias, 0));
  const Parallel parallel = torch_threads();
  THO_DISPATCH_V2(
      in.scalar_type(), "sparse_conv", AT_WRAP([&]() {
        const auto& kernels = cpu::conv_kernels<scalar_t>();
        Tensor packed = empty(in, {map.num_taps * kernels.packed_size(in_channels, out_channels)},
                              in.scalar_type());
        kernels.pack(cptr<scalar_t>(w), map.num_taps, in_channels, out_channels, w.stride(0),
                     w.stride(1), w.stride(2), mptr<scalar_t>(packed), parallel);
        kernels.forward({cptr<scalar_t>(in), mptr<scalar_t>(out), in_channels, out_channels,
                         map.in_rows, map.out_rows, map.segments, map.num_blocks, map.num_taps},
                        cptr<scalar_t>(packed), parallel);
      }),
      ScalarType::Float, ScalarType::Double);
  return is_half(dtype) ? torch::stable::to(out, dtype) : out;
}

Tensor sparse_conv_weight_grad(const Tensor& feats, const Tensor& grad_out, const Tensor& in_rows,
                               const Tensor& out_rows, const Tensor& segments) {
  check_conv(feats, "feats", -1);
  check_conv(grad_out, "grad_out", -1);
  STD_TORCH_CHECK(feats.scalar_type() == grad_out.scalar_type(),
                  "grad_out: expected the dtype of feats");
  const MapArrays map = map_arrays(in_rows, out_rows, segments);
  const Tensor in = widened(feats), grad = widened(grad_out);
  const int64_t in_channels = feats.size(1), out_channels = grad_out.size(1);
  Tensor grad_weight = empty(in, {map.num_taps, in_channels, out_channels}, in.scalar_type());
  THO_DISPATCH_V2(
      in.scalar_type(), "sparse_conv_weight_grad", AT_WRAP([&]() {
        cpu::conv_kernels<scalar_t>().weight_grad(
            {cptr<scalar_t>(in), cptr<scalar_t>(grad), mptr<scalar_t>(grad_weight), in_channels,
             out_channels, map.in_rows, map.out_rows, map.segments, map.num_blocks, map.num_taps},
            torch_threads());
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
      "sparse_conv_weight_grad(Tensor feats, Tensor grad_out, Tensor in_rows, Tensor out_rows, "
      "Tensor segments) -> Tensor");
}

// The swapped map is there for the backward pass alone, which finds it among the inputs.
Tensor sparse_conv_op(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                      const Tensor& in_rows, const Tensor& out_rows, const Tensor& segments,
                      int64_t num_out, const std::optional<Tensor>&, const std::optional<Tensor>&,
                      const std::optional<Tensor>&) {
  return sparse_conv(feats, weight, bias, in_rows, out_rows, segments, num_out);
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("sparse_conv", TORCH_BOX(&sparse_conv_op));
  m.impl("sparse_conv_weight_grad", TORCH_BOX(&sparse_conv_weight_grad));
}

}  // namespace
}  // namespace pointseg
