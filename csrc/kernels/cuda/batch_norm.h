// Launchers of batch_norm, its moments and its gradient: see pointseg/ops/batch_norm.py for the
// contract.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../batch_norm.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// One number per channel, of any dtype: nothing is copied to widen it.
struct ChannelValues {
  enum class Dtype { float64, float32, float16, bfloat16 };
  const void* at;
  Dtype dtype;
};

struct NormParameters {
  ChannelValues mean, var, weight, bias;
  double eps;
};

// Sums over all rows are made by slices of rows, then over the slices. Their number depends on the
// number of rows alone.
constexpr int64_t kSliceRows = 128;
constexpr int64_t kMaxSlices = 512;
inline int64_t num_slices(int64_t rows) {
  return std::clamp<int64_t>((rows + kSliceRows - 1) / kSliceRows, 1, kMaxSlices);
}

// Mean and variance (divided by rows) of x [rows, channels]. buffers: room for 2 x channels x
// num_slices(rows).
template <typename T>
Status batch_norm_moments(const T* x, int64_t rows, int64_t channels, double* buffers, double* mean,
                          double* var, Stream stream);

// The norm of x, plus residual [rows, channels] if it is not null; where `relu`, negative results
// are 0. coefficients: room for kNormCoefficients x channels.
template <typename T>
Status batch_norm(const T* x, const NormParameters& norm, const T* residual, bool relu,
                  int64_t rows, int64_t channels, Sum<T>* coefficients, T* out, Stream stream);

// What the backward pass reads and writes.
template <typename T>
struct NormGradient {
  const T* grad_out;
  const T* x;
  const T* out;        // the result; null where nothing was added to the norm
  bool relu;           // negative results were made 0
  bool batch_moments;  // mean and var are those of x and move with it
  T* grad_x;
  double* grad_parameters;  // [2, channels]: of bias and weight
  T* grad_residual;         // null, or for what the ReLU let pass of grad_out; needs `out`
};

template <typename T>
Status batch_norm_grad(const NormGradient<T>& gradient, const NormParameters& norm, int64_t rows,
                       int64_t channels, double* buffers, Sum<T>* coefficients, Stream stream);

}  // namespace pointseg::cuda
