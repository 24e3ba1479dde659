// sparse_conv, sparse_conv_fused, sparse_conv_weight_grad: see pointseg/ops/sparse_conv.py for the
// contract.
#include "../../kernels/cpu/sparse_conv.h"

#include "../sparse_conv.h"

#include "../storage.h"
#include "common.h"

namespace pointseg {
namespace {

// The CPU has one algorithm, and reads a map as pair lists.
void check_algorithm(int64_t algorithm) {
  STD_TORCH_CHECK(algorithm == 0, "algorithm: expected 0 on the CPU, got ", algorithm);
}

MapPairs listed_pairs(const std::vector<Tensor>& arrays, int64_t num_out) {
  STD_TORCH_CHECK(arrays.size() == 3, "map: expected in_rows, out_rows and segments, got ",
                  arrays.size(), " tensors");
  return map_pairs(arrays[0], arrays[1], arrays[2], num_out);
}

Tensor sparse_conv_fused(const Tensor& feats, const Tensor& weight,
                         const std::optional<Tensor>& bias, const std::optional<Tensor>& residual,
                         bool relu, const std::vector<Tensor>& arrays, int64_t num_out,
                         int64_t algorithm) {
  const ScalarType dtype = feats.scalar_type();
  const MapPairs map = listed_pairs(arrays, num_out);
  check_algorithm(algorithm);
  check_conv(feats, weight, bias, residual, map.num_taps, num_out);
  const int64_t in_channels = feats.size(1), out_channels = weight.size(2);

  // Beside bfloat16 features weights are rounded to it, with or without products of its own.
  const Tensor rounded = dtype == ScalarType::BFloat16 ? store_as(weight, dtype) : weight;
  const ScalarType sums = dtype == ScalarType::Double ? dtype : ScalarType::Float;
  const std::optional<Tensor> b = widen(bias), r = widen(residual);
  Tensor out = empty(feats, {num_out, out_channels}, sums);
  const auto run = [&](const auto& kernels, auto of, auto sum, const Tensor& in, const Tensor& w) {
    using In = decltype(of);
    using T = decltype(sum);
    Tensor packed = empty(in, {map.num_taps * kernels.packed_size(in_channels, out_channels)},
                          in.scalar_type());
    const Parallel parallel = torch_threads();
    kernels.pack(cptr<In>(w), map.num_taps, in_channels, out_channels, w.stride(0), w.stride(1),
                 w.stride(2), mptr<In>(packed), parallel);
    kernels.forward({cptr<In>(in), mptr<T>(out), in_channels, out_channels, num_out,
                     b ? cptr<T>(*b) : nullptr, r ? cptr<T>(*r) : nullptr, relu, map},
                    cptr<In>(packed), parallel);
  };
  const cpu::Bf16ConvKernels* dots = cpu::bf16_conv_kernels();
  if (dots != nullptr && dtype == ScalarType::BFloat16 && in_channels % 2 == 0) {
    run(*dots, uint16_t{}, float{}, feats, rounded);
  } else {
    THO_DISPATCH_V2(sums, "sparse_conv", AT_WRAP([&]() {
                      run(cpu::conv_kernels<scalar_t>(), scalar_t{}, scalar_t{}, widen(feats),
                          widen(rounded));
                    }),
                    ScalarType::Float, ScalarType::Double);
  }
  return store_as(out, dtype);
}

// The swapped map is there for the backward pass alone, which finds it among the inputs.
Tensor sparse_conv(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::vector<Tensor>& arrays, int64_t num_out, const std::vector<Tensor>&,
                   int64_t algorithm) {
  return sparse_conv_fused(feats, weight, bias, std::nullopt, false, arrays, num_out, algorithm);
}

Tensor sparse_conv_weight_grad(const Tensor& feats, const Tensor& grad_out,
                               const std::vector<Tensor>& arrays, int64_t algorithm) {
  check_conv_weight_grad(feats, grad_out);
  const MapPairs map = listed_pairs(arrays, grad_out.size(0));
  check_algorithm(algorithm);
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
      "sparse_conv(Tensor feats, Tensor weight, Tensor? bias, Tensor[] map, SymInt num_out, "
      "Tensor[] swapped, int algorithm) -> Tensor");
  m.def(
      "sparse_conv_fused(Tensor feats, Tensor weight, Tensor? bias, Tensor? residual, bool relu, "
      "Tensor[] map, SymInt num_out, int algorithm) -> Tensor");
  m.def(
      "sparse_conv_weight_grad(Tensor feats, Tensor grad_out, Tensor[] map, int algorithm) -> "
      "Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("sparse_conv", TORCH_BOX(&sparse_conv));
  m.impl("sparse_conv_fused", TORCH_BOX(&sparse_conv_fused));
  m.impl("sparse_conv_weight_grad", TORCH_BOX(&sparse_conv_weight_grad));
}

}  // namespace
}  // namespace pointseg
