// What batch norm does to one channel; shared by the CPU and CUDA loops.
#pragma once

#include <cmath>
#include <cstdint>

#include "packing.h"

namespace pointseg {

// out = (x - mean) * weight / sqrt(var + eps) + bias.
struct ChannelNorm {
  double mean, var, weight, bias, eps;

  POINTSEG_HD double inverse_deviation() const { return 1.0 / std::sqrt(var + eps); }
};

// The same in the precision of the rows, and its gradient:
//   out = (x - kMean) * kScale + kOffset
//   grad_x = kScale * grad_out + kSlope * (x - kMean) + kConstant
// Each is a row of a matrix of coefficients.
enum NormCoefficient { kMean, kScale, kOffset, kSlope, kConstant };
constexpr int64_t kNormCoefficients = 5;

// to: the first coefficient of the channel, `channels` apart from the next.
template <typename S>
POINTSEG_HD void fill_norm(const ChannelNorm& norm, S* to, int64_t channels) {
  const S mean = static_cast<S>(norm.mean);
  const double scale = norm.weight * norm.inverse_deviation();
  to[kMean * channels] = mean;
  to[kScale * channels] = static_cast<S>(scale);
  // What the mean lost by rounding goes into the offset.
  to[kOffset * channels] = static_cast<S>(norm.bias - (norm.mean - mean) * scale);
}

// Gradient of the weight, from the sums over all rows of grad_out and of grad_out * (x - kMean).
template <typename S>
POINTSEG_HD double weight_gradient(const ChannelNorm& norm, const S* coefficients, double sum,
                                   double product_sum) {
  const double lost = norm.mean - coefficients[kMean];
  return (product_sum - lost * sum) * norm.inverse_deviation();
}

// What moves grad_x where the moments move with x. share: 1 / rows there, 0 where they do not.
template <typename S>
POINTSEG_HD void fill_slope(const ChannelNorm& norm, double grad_bias, double grad_weight,
                            double share, S* to, int64_t channels) {
  const double inverse = norm.inverse_deviation();
  const double scale = norm.weight * inverse * share;
  const double slope = -scale * inverse * grad_weight;
  const double lost = norm.mean - to[kMean];
  to[kSlope * channels] = static_cast<S>(slope);
  to[kConstant * channels] = static_cast<S>(-scale * grad_bias - slope * lost);
}

}  // namespace pointseg
