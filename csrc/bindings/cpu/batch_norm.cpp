// batch_norm, its moments and its gradient: see pointseg/ops/batch_norm.py for the contract.
#include "../../kernels/cpu/batch_norm.h"

#include "../../kernels/cpu/row_slices.h"
#include "../batch_norm.h"
#include "common.h"

namespace pointseg {
namespace {

// One number per channel, in double.
Tensor per_channel(const Tensor& t, const char* name, const Tensor& feats) {
  check_channels(t, name, feats);
  return t.scalar_type() == ScalarType::Double ? t : torch::stable::to(t, ScalarType::Double);
}

Tensor slice_buffers(const Tensor& feats) {
  return empty(feats, {cpu::num_slices(feats.size(0)), 2, feats.size(1)}, ScalarType::Double);
}

std::tuple<Tensor, Tensor> batch_norm_moments(const Tensor& feats) {
  check_feats(feats, "feats");
  const Tensor x = widen(feats), buffers = slice_buffers(feats);
  Tensor mean = empty(x, {x.size(1)}, ScalarType::Double);
  Tensor var = empty(x, {x.size(1)}, ScalarType::Double);
  THO_DISPATCH_V2(x.scalar_type(), "batch_norm_moments", AT_WRAP([&]() {
                    cpu::batch_norm_kernels<scalar_t>().moments(
                        cptr<scalar_t>(x), x.size(0), x.size(1), mptr<double>(buffers),
                        mptr<double>(mean), mptr<double>(var), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return {mean, var};
}

// What there is one of per channel, checked, in double.
struct Norm {
  Tensor mean, var, weight, bias;
  cpu::NormParameters parameters;

  Norm(const Tensor& feats, const Tensor& mean, const Tensor& var, const Tensor& weight,
       const Tensor& bias, double eps)
      : mean(per_channel(mean, "mean", feats)),
        var(per_channel(var, "var", feats)),
        weight(per_channel(weight, "weight", feats)),
        bias(per_channel(bias, "bias", feats)),
        parameters{cptr<double>(this->mean),
                   cptr<double>(this->var),
                   cptr<double>(this->weight),
                   cptr<double>(this->bias),
                   eps,
                   feats.size(1)} {}
};

// Whether the moments are those of feats is for the backward pass alone.
Tensor batch_norm(const Tensor& feats, const Tensor& mean, const Tensor& var, const Tensor& weight,
                  const Tensor& bias, const std::optional<Tensor>& residual, double eps, bool relu,
                  bool) {
  check_batch_norm(feats, residual);
  const Norm norm(feats, mean, var, weight, bias, eps);
  const Tensor x = widen(feats);
  const std::optional<Tensor> add = widen(residual);
  Tensor coefficients = empty(x, {kNormCoefficients, x.size(1)}, x.scalar_type());
  Tensor out = empty(x, {x.size(0), x.size(1)}, x.scalar_type());
  THO_DISPATCH_V2(x.scalar_type(), "batch_norm", AT_WRAP([&]() {
                    cpu::batch_norm_kernels<scalar_t>().forward(
                        cptr<scalar_t>(x), norm.parameters, add ? cptr<scalar_t>(*add) : nullptr,
                        relu, x.size(0), mptr<scalar_t>(coefficients), mptr<scalar_t>(out),
                        torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(out, feats.scalar_type());
}

// The gradient of the residual has no rows where nobody wants it.
std::tuple<Tensor, Tensor, Tensor> batch_norm_grad(const Tensor& grad_out, const Tensor& feats,
                                                   const std::optional<Tensor>& out,
                                                   const Tensor& mean, const Tensor& var,
                                                   const Tensor& weight, const Tensor& bias,
                                                   double eps, bool relu, bool batch_moments,
                                                   bool wants_residual) {
  check_batch_norm_grad(grad_out, feats, out, relu, wants_residual);
  const Norm norm(feats, mean, var, weight, bias, eps);
  const Tensor x = widen(feats), grad = widen(grad_out);
  const std::optional<Tensor> y = widen(out);
  const int64_t rows = x.size(0), channels = x.size(1);
  const Tensor buffers = slice_buffers(x);
  Tensor coefficients = empty(x, {kNormCoefficients, channels}, x.scalar_type());
  Tensor grad_feats = empty(x, {rows, channels}, x.scalar_type());
  Tensor grad_parameters = empty(x, {2, channels}, ScalarType::Double);
  Tensor grad_residual = empty(x, {wants_residual ? rows : 0, channels}, x.scalar_type());
  THO_DISPATCH_V2(x.scalar_type(), "batch_norm_grad", AT_WRAP([&]() {
                    cpu::batch_norm_kernels<scalar_t>().backward(
                        cptr<scalar_t>(grad), cptr<scalar_t>(x), y ? cptr<scalar_t>(*y) : nullptr,
                        norm.parameters, relu, batch_moments, rows, mptr<double>(buffers),
                        mptr<scalar_t>(coefficients), mptr<scalar_t>(grad_feats),
                        mptr<double>(grad_parameters),
                        wants_residual ? mptr<scalar_t>(grad_residual) : nullptr, torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  const ScalarType dtype = feats.scalar_type();
  return {store_as(grad_feats, dtype), grad_parameters, store_as(grad_residual, dtype)};
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def("batch_norm_moments(Tensor feats) -> (Tensor, Tensor)");
  m.def(
      "batch_norm(Tensor feats, Tensor mean, Tensor var, Tensor weight, Tensor bias, Tensor? "
      "residual, float eps, bool relu, bool batch_moments) -> Tensor");
  m.def(
      "batch_norm_grad(Tensor grad_out, Tensor feats, Tensor? out, Tensor mean, Tensor var, Tensor "
      "weight, Tensor bias, float eps, bool relu, bool batch_moments, bool wants_residual) -> "
      "(Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("batch_norm_moments", TORCH_BOX(&batch_norm_moments));
  m.impl("batch_norm", TORCH_BOX(&batch_norm));
  m.impl("batch_norm_grad", TORCH_BOX(&batch_norm_grad));
}

}  // namespace
}  // namespace pointseg
