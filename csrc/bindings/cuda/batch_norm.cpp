// batch_norm, its moments and its gradient on CUDA: the schemas are in bindings/cpu/batch_norm.cpp,
// the contract in pointseg/ops/batch_norm.py.
#include "../../kernels/cuda/batch_norm.h"

#include "../batch_norm.h"
#include "common.h"

namespace pointseg {
namespace {

using cuda::ChannelValues;

ChannelValues per_channel(const Tensor& t, const char* name, const Tensor& feats) {
  check_channels(t, name, feats);
  const auto dtype = [&] {
    switch (t.scalar_type()) {
      case ScalarType::Double:
        return ChannelValues::Dtype::float64;
      case ScalarType::Float:
        return ChannelValues::Dtype::float32;
      case ScalarType::Half:
        return ChannelValues::Dtype::float16;
      case ScalarType::BFloat16:
        return ChannelValues::Dtype::bfloat16;
      default:
        STD_TORCH_CHECK(false, name, ": expected a floating-point dtype, got ", t.scalar_type());
    }
  };
  return {t.const_data_ptr(), dtype()};
}

cuda::NormParameters parameters(const Tensor& feats, const Tensor& mean, const Tensor& var,
                                const Tensor& weight, const Tensor& bias, double eps) {
  return {per_channel(mean, "mean", feats), per_channel(var, "var", feats),
          per_channel(weight, "weight", feats), per_channel(bias, "bias", feats), eps};
}

Tensor slice_buffers(const Tensor& feats) {
  return empty(feats, {2, feats.size(1), cuda::num_slices(feats.size(0))}, ScalarType::Double);
}

Tensor coefficients_of(const Tensor& feats) {
  return empty(feats, {kNormCoefficients, feats.size(1)}, compute_dtype(feats.scalar_type()));
}

std::tuple<Tensor, Tensor> batch_norm_moments(const Tensor& feats) {
  check_feats(feats, "feats");
  const OnDevice device(feats);
  const Tensor buffers = slice_buffers(feats);
  Tensor mean = empty(feats, {feats.size(1)}, ScalarType::Double);
  Tensor var = empty(feats, {feats.size(1)}, ScalarType::Double);
  dispatch_feats(feats.scalar_type(), "batch_norm_moments", [&](auto number) {
    using T = decltype(number);
    check_launch(cuda::batch_norm_moments(cptr<T>(feats), feats.size(0), feats.size(1),
                                          mptr<double>(buffers), mptr<double>(mean),
                                          mptr<double>(var), device.stream()),
                 "batch_norm_moments", feats);
  });
  return {mean, var};
}

Tensor batch_norm(const Tensor& feats, const Tensor& mean, const Tensor& var, const Tensor& weight,
                  const Tensor& bias, const std::optional<Tensor>& residual, double eps, bool relu,
                  bool) {
  check_batch_norm(feats, residual);
  const cuda::NormParameters norm = parameters(feats, mean, var, weight, bias, eps);
  const OnDevice device(feats);
  const Tensor coefficients = coefficients_of(feats);
  Tensor out = empty(feats, {feats.size(0), feats.size(1)}, feats.scalar_type());
  dispatch_feats(feats.scalar_type(), "batch_norm", [&](auto number) {
    using T = decltype(number);
    const T* add = residual ? cptr<T>(*residual) : nullptr;
    check_launch(cuda::batch_norm(cptr<T>(feats), norm, add, relu, feats.size(0), feats.size(1),
                                  mptr<cuda::Sum<T>>(coefficients), mptr<T>(out), device.stream()),
                 "batch_norm", feats);
  });
  return out;
}

// The gradient of the residual has no rows where nobody wants it.
std::tuple<Tensor, Tensor, Tensor> batch_norm_grad(const Tensor& grad_out, const Tensor& feats,
                                                   const std::optional<Tensor>& out,
                                                   const Tensor& mean, const Tensor& var,
                                                   const Tensor& weight, const Tensor& bias,
                                                   double eps, bool relu, bool batch_moments,
                                                   bool wants_residual) {
  check_batch_norm_grad(grad_out, feats, out, relu, wants_residual);
  const cuda::NormParameters norm = parameters(feats, mean, var, weight, bias, eps);
  const OnDevice device(feats);
  const int64_t rows = feats.size(0), channels = feats.size(1);
  const Tensor buffers = slice_buffers(feats), coefficients = coefficients_of(feats);
  Tensor grad_feats = empty(feats, {rows, channels}, feats.scalar_type());
  Tensor grad_parameters = empty(feats, {2, channels}, ScalarType::Double);
  Tensor grad_residual = empty(feats, {wants_residual ? rows : 0, channels}, feats.scalar_type());
  dispatch_feats(feats.scalar_type(), "batch_norm_grad", [&](auto number) {
    using T = decltype(number);
    const cuda::NormGradient<T> gradient{cptr<T>(grad_out),
                                         cptr<T>(feats),
                                         out ? cptr<T>(*out) : nullptr,
                                         relu,
                                         batch_moments,
                                         mptr<T>(grad_feats),
                                         mptr<double>(grad_parameters),
                                         wants_residual ? mptr<T>(grad_residual) : nullptr};
    check_launch(cuda::batch_norm_grad(gradient, norm, rows, channels, mptr<double>(buffers),
                                       mptr<cuda::Sum<T>>(coefficients), device.stream()),
                 "batch_norm_grad", feats);
  });
  return {grad_feats, grad_parameters, grad_residual};
}

POINTSEG_CUDA_OPS(m) {
  m.impl("batch_norm_moments", TORCH_BOX(&batch_norm_moments));
  m.impl("batch_norm", TORCH_BOX(&batch_norm));
  m.impl("batch_norm_grad", TORCH_BOX(&batch_norm_grad));
}

}  // namespace
}  // namespace pointseg
