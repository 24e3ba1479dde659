// Batch norm of rows, with a residual sum and a ReLU behind it.
//
// What there is one of per channel is double, for float rows as well: it costs nothing, and a mean
// far from zero does not spoil what is left after it is taken away.
#pragma once

#include <cstdint>

#include "../batch_norm.h"
#include "../parallel.h"

namespace pointseg::cpu {

// out = (x - mean) * weight / sqrt(var + eps) + bias, for `channels` channels.
struct NormParameters {
  const double* mean;
  const double* var;
  const double* weight;
  const double* bias;
  double eps;
  int64_t channels;
};

// coefficients: room for kNormCoefficients x channels; buffers: for num_slices(rows) x 2 x
// channels.
template <typename T>
struct BatchNormKernels {
  // Mean and variance (divided by rows) of x [rows, channels].
  void (*moments)(const T* x, int64_t rows, int64_t channels, double* buffers, double* mean,
                  double* var, const Parallel& parallel);
  // The norm of x, plus residual [rows, channels] if it is not null; where `relu`, negative results
  // are 0.
  void (*forward)(const T* x, const NormParameters& norm, const T* residual, bool relu,
                  int64_t rows, T* coefficients, T* out, const Parallel& parallel);
  // Writes grad_x and grad_parameters [2, channels], of bias and weight. out: the result, null
  // where nothing was added. batch_moments: mean and var are those of x and move with it. Where
  // grad_residual is not null it gets what of grad_out the ReLU let pass; it needs `out`.
  void (*backward)(const T* grad_out, const T* x, const T* out, const NormParameters& norm,
                   bool relu, bool batch_moments, int64_t rows, double* buffers, T* coefficients,
                   T* grad_x, double* grad_parameters, T* grad_residual, const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const BatchNormKernels<T>& batch_norm_kernels();

}  // namespace pointseg::cpu
