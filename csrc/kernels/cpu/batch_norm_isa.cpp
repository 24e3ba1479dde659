// The arithmetic of `batch_norm.h` for the instruction set POINTSEG_ISA.
#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "../batch_norm.h"
#include "lanes.h"
#include "row_slices.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

// Sums run in T over a block of rows, whose sums the first-level cache keeps, and in double from
// there on. Rows are read about in the order in which they lie in memory: registers sum over strips
// of a block, which are low, and not at all where several tensors are read side by side.
constexpr int64_t kBlockRows = 64;
constexpr int64_t kStripRows = 8;
constexpr int64_t kTileChannels = 256;

// fn(first row, rows, first channel, channels) over the blocks of rows [begin, end).
template <class F>
void over_blocks(int64_t begin, int64_t end, int64_t channels, const F& fn) {
  for (int64_t row = begin; row < end; row += kBlockRows)
    for (int64_t c0 = 0; c0 < channels; c0 += kTileChannels)
      fn(row, std::min(kBlockRows, end - row), c0, std::min(kTileChannels, channels - c0));
}

// fn.template operator()<Lanes>(first row, one past the last row, channel) over the strips of
// `rows` rows.
template <typename T, class F>
void over_strips(int64_t rows, int64_t channels, const F& fn) {
  for (int64_t row = 0; row < rows; row += kStripRows) {
    const int64_t end = std::min(rows, row + kStripRows);
    over_lanes<T>(channels, [&]<class L>(int64_t c) { fn.template operator()<L>(row, end, c); });
  }
}

// fn.template operator()<Lanes>(row, channel) over all elements of `rows` rows.
template <typename T, class F>
void over_elements(int64_t rows, int64_t channels, const F& fn) {
  for (int64_t row = 0; row < rows; ++row)
    over_lanes<T>(channels, [&]<class L>(int64_t c) { fn.template operator()<L>(row, c); });
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
template <typename T>
void add_block(const T* x, int64_t rows, int64_t width, int64_t channels, int64_t rows_before,
               double* mean, double* squares) {
  T centre[kTileChannels] = {}, off[kTileChannels] = {}, around[kTileChannels] = {};
  over_strips<T>(rows, width, [&]<class L>(int64_t row, int64_t end, int64_t c) {
    L sum = L::load(centre + c);
    for (; row < end; ++row) sum.add(L::load(x + row * channels + c));
    sum.store(centre + c);
  });
  for (int64_t c = 0; c < width; ++c) centre[c] /= static_cast<T>(rows);
  over_strips<T>(rows, width, [&]<class L>(int64_t row, int64_t end, int64_t c) {
    const L from = L::load(centre + c);
    L sum = L::load(off + c), sum_of_squares = L::load(around + c);
    for (; row < end; ++row) {
      const L distance = difference(L::load(x + row * channels + c), from);
      sum.add(distance);
      sum_of_squares.add_product(distance, distance);
    }
    sum.store(off + c);
    sum_of_squares.store(around + c);
  });
  for (int64_t c = 0; c < width; ++c) {
    const double rest = double{off[c]} / static_cast<double>(rows);
    merge(mean[c], squares[c], rows_before, centre[c] + rest, around[c] - rest * off[c], rows);
  }
}

template <typename T>
void moments(const T* x, int64_t rows, int64_t channels, double* buffers, double* mean, double* var,
             const Parallel& parallel) {
  over_slices(rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    double* to = buffers + slice * 2 * channels;
    std::fill(to, to + 2 * channels, 0.0);
    over_blocks(begin, end, channels, [&](int64_t row, int64_t count, int64_t c0, int64_t width) {
      add_block(x + row * channels + c0, count, width, channels, row - begin, to + c0,
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

// The lanes of a coefficient: those of channel c0 on, where `first` is its place in the first row.
template <class L, typename T>
auto channel_lanes(const T* first, int64_t channels) {
  return [=](NormCoefficient which) { return L::load(first + which * channels); };
}

ChannelNorm channel(const NormParameters& norm, int64_t c) {
  return {norm.mean[c], norm.var[c], norm.weight[c], norm.bias[c], norm.eps};
}

template <typename T>
void fill_norms(const NormParameters& norm, T* coefficients) {
  for (int64_t c = 0; c < norm.channels; ++c)
    fill_norm(channel(norm, c), coefficients + c, norm.channels);
}

template <typename T, bool kResidual, bool kRelu>
void norm_rows(const T* x, const T* residual, int64_t rows, int64_t channels, const T* coefficients,
               T* out, const Parallel& parallel) {
  over_rows(rows, parallel, [&](int64_t begin, int64_t end) {
    over_elements<T>(end - begin, channels, [&]<class L>(int64_t row, int64_t c) {
      const auto of = channel_lanes<L>(coefficients + c, channels);
      const int64_t at = (begin + row) * channels + c;
      L value = of(kOffset);
      value.add_product(difference(L::load(x + at), of(kMean)), of(kScale));
      if constexpr (kResidual) value.add(L::load(residual + at));
      if constexpr (kRelu)
        for (auto& v : value.v) v = v < 0 ? typename L::Vec{} : v;  // a NaN stays one
      value.store(out + at);
    });
  });
}

template <typename T>
void forward(const T* x, const NormParameters& norm, const T* residual, bool relu, int64_t rows,
             T* coefficients, T* out, const Parallel& parallel) {
  fill_norms(norm, coefficients);
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

template <Relu kRelu, class L, typename T>
__attribute__((always_inline)) inline L passed(L grad, const L& distance, const L& scale,
                                               const L& offset, const T* out) {
  if constexpr (kRelu == Relu::none) return grad;
  L result = offset;
  if constexpr (kRelu == Relu::from_out)
    result = L::load(out);
  else
    result.add_product(distance, scale);
  for (size_t i = 0; i < std::size(grad.v); ++i)
    grad.v[i] = result.v[i] <= 0 ? typename L::Vec{} : grad.v[i];
  return grad;
}

// Sums of grad and of grad * (x - mean) per slice, into buffers; writes grad where asked.
template <typename T, Relu kRelu, bool kKeep>
void sum_grads(const T* grad_out, const T* x, const T* out, int64_t rows, int64_t channels,
               const T* coefficients, T* grad_residual, double* buffers, const Parallel& parallel) {
  over_slices(rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    double* to = buffers + slice * 2 * channels;
    std::fill(to, to + 2 * channels, 0.0);
    over_blocks(begin, end, channels, [&](int64_t first, int64_t count, int64_t c0, int64_t width) {
      T sum[kTileChannels] = {}, products[kTileChannels] = {};
      over_elements<T>(count, width, [&]<class L>(int64_t row, int64_t c) {
        const auto of = channel_lanes<L>(coefficients + c0 + c, channels);
        const int64_t at = (first + row) * channels + c0 + c;
        const L distance = difference(L::load(x + at), of(kMean));
        const L grad =
            passed<kRelu>(L::load(grad_out + at), distance, of(kScale), of(kOffset), out + at);
        L of_grad = L::load(sum + c), of_products = L::load(products + c);
        of_grad.add(grad);
        of_products.add_product(grad, distance);
        of_grad.store(sum + c);
        of_products.store(products + c);
        if constexpr (kKeep) grad.store(grad_residual + at);
      });
      for (int64_t c = 0; c < width; ++c) to[c0 + c] += sum[c];
      for (int64_t c = 0; c < width; ++c) to[channels + c0 + c] += products[c];
    });
  });
}

// grad_x = scale * grad + slope * (x - mean) + constant.
template <typename T, Relu kRelu>
void grad_rows(const T* grad_out, const T* x, const T* out, int64_t rows, int64_t channels,
               const T* coefficients, T* grad_x, const Parallel& parallel) {
  over_rows(rows, parallel, [&](int64_t begin, int64_t end) {
    over_elements<T>(end - begin, channels, [&]<class L>(int64_t row, int64_t c) {
      const auto of = channel_lanes<L>(coefficients + c, channels);
      const int64_t at = (begin + row) * channels + c;
      const L scale = of(kScale), distance = difference(L::load(x + at), of(kMean));
      L result = of(kConstant);
      result.add_product(of(kSlope), distance);
      result.add_product(
          scale, passed<kRelu>(L::load(grad_out + at), distance, scale, of(kOffset), out + at));
      result.store(grad_x + at);
    });
  });
}

template <typename T>
void backward(const T* grad_out, const T* x, const T* out, const NormParameters& norm, bool relu,
              bool batch_moments, int64_t rows, double* buffers, T* coefficients, T* grad_x,
              double* grad_parameters, T* grad_residual, const Parallel& parallel) {
  const int64_t channels = norm.channels;
  fill_norms(norm, coefficients);
  const auto sum = !relu           ? sum_grads<T, Relu::none, false>
                   : !out          ? sum_grads<T, Relu::from_x, false>
                   : grad_residual ? sum_grads<T, Relu::from_out, true>
                                   : sum_grads<T, Relu::from_out, false>;
  sum(grad_out, x, out, rows, channels, coefficients, grad_residual, buffers, parallel);
  add_slices(buffers, num_slices(rows), 2 * channels, grad_parameters);
  double* grad_bias = grad_parameters;
  double* grad_weight = grad_parameters + channels;
  const double share = batch_moments && rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0;
  for (int64_t c = 0; c < channels; ++c) {
    const ChannelNorm of = channel(norm, c);
    grad_weight[c] = weight_gradient(of, coefficients + c, grad_bias[c], grad_weight[c]);
    fill_slope(of, grad_bias[c], grad_weight[c], share, coefficients + c, channels);
  }
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
