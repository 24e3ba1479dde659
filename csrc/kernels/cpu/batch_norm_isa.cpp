// The arithmetic of `batch_norm.h` for the instruction set POINTSEG_ISA.
#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "lanes.h"
#include "row_slices.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

// Sums run in T over a block of rows, which the cache keeps, and in double from there on.
constexpr int64_t kBlockRows = 64;

// fn.template operator()<Lanes>(first row, rows, first channel) over the blocks of rows [begin,
// end); the lanes of a block fit into registers.
template <typename T, class F>
void over_blocks(int64_t begin, int64_t end, int64_t channels, const F& fn) {
  for (int64_t row = begin; row < end; row += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, end - row);
    over_lanes<T>(channels, [&]<class L>(int64_t c0) { fn.template operator()<L>(row, rows, c0); });
  }
}

template <class L, typename T>
__attribute__((always_inline)) inline L all_equal(T value) {
  L lanes = L::zero();
  for (auto& v : lanes.v) v += value;
  return lanes;
}

template <class L>
__attribute__((always_inline)) inline L difference(const L& a, const L& b) {
  L lanes;
  for (size_t i = 0; i < std::size(lanes.v); ++i) lanes.v[i] = a.v[i] - b.v[i];
  return lanes;
}

// Adds the moments of one channel of `other_count` rows to those of `count` rows: the mean, and the
// sum of squared distances from it.
inline void merge(double& mean, double& squares, double count, double other_mean,
                  double other_squares, double other_count) {
  const double distance = other_mean - mean, share = other_count / (count + other_count);
  mean += distance * share;
  squares += other_squares + distance * distance * count * share;
}

// Adds the moments of the rows at x to those of `rows_before` rows. Two passes over rows that the
// cache holds: the second measures from about the mean, so nothing cancels.
template <class L, typename T>
void add_block(const T* x, int64_t rows, int64_t channels, int64_t rows_before, double* mean,
               double* squares) {
  L total = L::zero();
  for (int64_t row = 0; row < rows; ++row) total.add(L::load(x + row * channels));
  const L centre = product(total, all_equal<L>(T(1) / static_cast<T>(rows)));
  L off = L::zero(), around = L::zero();
  for (int64_t row = 0; row < rows; ++row) {
    const L distance = difference(L::load(x + row * channels), centre);
    off.add(distance);
    around.add_product(distance, distance);
  }
  T centres[L::kCount], offs[L::kCount], arounds[L::kCount];
  centre.store(centres);
  off.store(offs);
  around.store(arounds);
  for (int64_t c = 0; c < L::kCount; ++c) {
    const double rest = double{offs[c]} / rows;
    merge(mean[c], squares[c], rows_before, centres[c] + rest, arounds[c] - rest * offs[c], rows);
  }
}

template <typename T>
void moments(const T* x, int64_t rows, int64_t channels, double* buffers, double* mean, double* var,
             const Parallel& parallel) {
  over_slices(rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    double* to = buffers + slice * 2 * channels;
    std::fill(to, to + 2 * channels, 0.0);
    over_blocks<T>(begin, end, channels, [&]<class L>(int64_t row, int64_t count, int64_t c0) {
      add_block<L>(x + row * channels + c0, count, channels, row - begin, to + c0,
                   to + channels + c0);
    });
  });
  std::fill(mean, mean + channels, 0.0);
  std::fill(var, var + channels, 0.0);
  if (rows == 0) return;
  const int64_t slices = num_slices(rows);
  for (int64_t slice = 0; slice < slices; ++slice) {
    const double* from = buffers + slice * 2 * channels;
    const int64_t begin = rows * slice / slices, end = rows * (slice + 1) / slices;
    for (int64_t c = 0; c < channels; ++c)
      merge(mean[c], var[c], begin, from[c], from[channels + c], end - begin);
  }
  for (int64_t c = 0; c < channels; ++c) var[c] /= rows;
}

// What is done to a channel, in the precision of the rows; each is a row of `coefficients`.
enum Coefficient { kMean, kScale, kOffset, kSlope, kConstant };
static_assert(kConstant + 1 == kNormCoefficients);

template <typename T>
void fill_norm(const NormParameters& norm, T* coefficients) {
  for (int64_t c = 0; c < norm.channels; ++c) {
    const T mean = static_cast<T>(norm.mean[c]);
    const double scale = norm.weight[c] / std::sqrt(norm.var[c] + norm.eps);
    // What the mean lost by rounding goes into the offset.
    const double offset = norm.bias[c] - (norm.mean[c] - mean) * scale;
    coefficients[kMean * norm.channels + c] = mean;
    coefficients[kScale * norm.channels + c] = static_cast<T>(scale);
    coefficients[kOffset * norm.channels + c] = static_cast<T>(offset);
  }
}

template <typename T, bool kResidual, bool kRelu>
void norm_rows(const T* x, const T* residual, int64_t rows, int64_t channels, const T* coefficients,
               T* out, const Parallel& parallel) {
  const T* __restrict mean = coefficients + kMean * channels;
  const T* __restrict scale = coefficients + kScale * channels;
  const T* __restrict offset = coefficients + kOffset * channels;
  over_rows(rows, parallel, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* __restrict from = x + row * channels;
      [[maybe_unused]] const T* __restrict add = kResidual ? residual + row * channels : nullptr;
      T* __restrict to = out + row * channels;
      for (int64_t c = 0; c < channels; ++c) {
        T value = (from[c] - mean[c]) * scale[c] + offset[c];
        if constexpr (kResidual) value += add[c];
        if constexpr (kRelu) value = value < T(0) ? T(0) : value;  // a NaN stays one
        to[c] = value;
      }
    }
  });
}

template <typename T>
void forward(const T* x, const NormParameters& norm, const T* residual, bool relu, int64_t rows,
             T* coefficients, T* out, const Parallel& parallel) {
  fill_norm(norm, coefficients);
  const auto run = residual ? (relu ? norm_rows<T, true, true> : norm_rows<T, true, false>)
                            : (relu ? norm_rows<T, false, true> : norm_rows<T, false, false>);
  run(x, residual, rows, norm.channels, coefficients, out, parallel);
}

// How the backward pass knows where the ReLU let the gradient pass.
enum class Relu {
  none,      // there was none
  from_x,    // the result is computed again, which costs less than reading it
  from_out,  // it is read: something was added that is not kept
};

template <Relu kRelu, typename V>
__attribute__((always_inline)) inline V passed(const V& grad, const V& distance, const V& scale,
                                               const V& offset, const V& out) {
  if constexpr (kRelu == Relu::none) return grad;
  const V result = kRelu == Relu::from_out ? out : distance * scale + offset;
  return result <= V{} ? V{} : grad;
}

// Sums of grad and of grad * (x - mean) per slice, into buffers; writes grad where asked.
template <typename T, Relu kRelu, bool kKeep>
void sum_grads(const T* grad_out, const T* x, const T* out, int64_t rows, int64_t channels,
               const T* coefficients, T* grad_residual, double* buffers, const Parallel& parallel) {
  const auto coefficient = [&](Coefficient which) { return coefficients + which * channels; };
  over_slices(rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    double* to = buffers + slice * 2 * channels;
    std::fill(to, to + 2 * channels, 0.0);
    over_blocks<T>(begin, end, channels, [&]<class L>(int64_t first, int64_t count, int64_t c0) {
      const L mean = L::load(coefficient(kMean) + c0), scale = L::load(coefficient(kScale) + c0),
              offset = L::load(coefficient(kOffset) + c0);
      L sum = L::zero(), products = L::zero();
      for (int64_t row = first; row < first + count; ++row) {
        const int64_t at = row * channels + c0;
        const L distance = difference(L::load(x + at), mean);
        const L result = kRelu == Relu::from_out ? L::load(out + at) : distance;
        L grad = L::load(grad_out + at);
        for (size_t i = 0; i < std::size(grad.v); ++i)
          grad.v[i] = passed<kRelu>(grad.v[i], distance.v[i], scale.v[i], offset.v[i], result.v[i]);
        sum.add(grad);
        products.add_product(grad, distance);
        if constexpr (kKeep) grad.store(grad_residual + at);
      }
      T sums[L::kCount], of_products[L::kCount];
      sum.store(sums);
      products.store(of_products);
      for (int64_t c = 0; c < L::kCount; ++c) to[c0 + c] += sums[c];
      for (int64_t c = 0; c < L::kCount; ++c) to[channels + c0 + c] += of_products[c];
    });
  });
}

// grad_x = scale * grad + slope * (x - mean) + constant.
template <typename T, Relu kRelu>
void grad_rows(const T* grad_out, const T* x, const T* out, int64_t rows, int64_t channels,
               const T* coefficients, T* grad_x, const Parallel& parallel) {
  const T* __restrict mean = coefficients + kMean * channels;
  const T* __restrict scale = coefficients + kScale * channels;
  const T* __restrict offset = coefficients + kOffset * channels;
  const T* __restrict slope = coefficients + kSlope * channels;
  const T* __restrict constant = coefficients + kConstant * channels;
  over_rows(rows, parallel, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * channels;
      const T* __restrict grad = grad_out + at;
      const T* __restrict from = x + at;
      const T* __restrict result = kRelu == Relu::from_out ? out + at : from;
      T* __restrict to = grad_x + at;
      for (int64_t c = 0; c < channels; ++c) {
        const T distance = from[c] - mean[c];
        const T g = passed<kRelu>(grad[c], distance, scale[c], offset[c], result[c]);
        to[c] = scale[c] * g + (slope[c] * distance + constant[c]);
      }
    }
  });
}

// What moves grad_x where the moments move with x: none of it where they do not.
template <typename T>
void fill_slopes(const NormParameters& norm, const double* grad_bias, const double* grad_weight,
                 double share, T* coefficients) {
  for (int64_t c = 0; c < norm.channels; ++c) {
    const double inverse = 1.0 / std::sqrt(norm.var[c] + norm.eps);
    const double scale = norm.weight[c] * inverse * share;
    const double slope = -scale * inverse * grad_weight[c];
    const double lost = norm.mean[c] - coefficients[kMean * norm.channels + c];
    coefficients[kSlope * norm.channels + c] = static_cast<T>(slope);
    coefficients[kConstant * norm.channels + c] =
        static_cast<T>(-scale * grad_bias[c] - slope * lost);
  }
}

template <typename T>
void backward(const T* grad_out, const T* x, const T* out, const NormParameters& norm, bool relu,
              bool batch_moments, int64_t rows, double* buffers, T* coefficients, T* grad_x,
              double* grad_parameters, T* grad_residual, const Parallel& parallel) {
  const int64_t channels = norm.channels;
  fill_norm(norm, coefficients);
  const auto sum = !relu           ? sum_grads<T, Relu::none, false>
                   : !out          ? sum_grads<T, Relu::from_x, false>
                   : grad_residual ? sum_grads<T, Relu::from_out, true>
                                   : sum_grads<T, Relu::from_out, false>;
  sum(grad_out, x, out, rows, channels, coefficients, grad_residual, buffers, parallel);
  add_slices(buffers, num_slices(rows), 2 * channels, grad_parameters);
  double* grad_bias = grad_parameters;
  double* grad_weight = grad_parameters + channels;
  for (int64_t c = 0; c < channels; ++c) {
    const double lost = norm.mean[c] - coefficients[kMean * channels + c];
    grad_weight[c] = (grad_weight[c] - lost * grad_bias[c]) / std::sqrt(norm.var[c] + norm.eps);
  }
  const double share = batch_moments && rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0;
  fill_slopes(norm, grad_bias, grad_weight, share, coefficients);
  // Where the residual asked for it, what passed is there already.
  const auto run = !relu || grad_residual ? grad_rows<T, Relu::none>
                   : out                  ? grad_rows<T, Relu::from_out>
                                          : grad_rows<T, Relu::from_x>;
  run(grad_residual ? grad_residual : grad_out, x, out, rows, channels, coefficients, grad_x,
      parallel);
}

template <typename T>
BatchNormKernels<T> table() {
  return {moments<T>, forward<T>, backward<T>};
}

}  // namespace

BatchNormKernels<float> batch_norm_kernels_f32() { return table<float>(); }
BatchNormKernels<double> batch_norm_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
