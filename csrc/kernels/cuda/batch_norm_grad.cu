// The gradient of batch norm in two passes over the rows, sums and what they move, each bound by
// the bytes of the rows.
#include "batch_norm.h"
#include "channel_norm.h"

namespace pointseg::cuda {
namespace {

// What of a gradient the ReLU let pass, and how the backward pass knows: from the result, where it
// is there; otherwise it computes it again, which costs less than reading it.
template <typename T, int kPack>
struct Passed {
  using S = Sum<T>;
  bool relu;
  const T* out;
  Pack<S, kPack> mean, scale, offset;

  POINTSEG_DEVICE Passed(const NormGradient<T>& g, const S* coefficients, int64_t channels)
      : relu(g.relu),
        out(g.out),
        mean(load_pack<kPack>(coefficients + kMean * channels)),
        scale(load_pack<kPack>(coefficients + kScale * channels)),
        offset(load_pack<kPack>(coefficients + kOffset * channels)) {}

  POINTSEG_DEVICE S distance(const Pack<T, kPack>& x, int c) const {
    return widened(x.v[c]) - mean.v[c];
  }
  POINTSEG_DEVICE S grad(const Pack<T, kPack>& grad_out, const Pack<T, kPack>& result, S distance,
                         int c) const {
    const S grad = widened(grad_out.v[c]);
    if (!relu) return grad;
    const S value = out != nullptr ? S(widened(result.v[c])) : offset.v[c] + distance * scale.v[c];
    return value <= S(0) ? S(0) : grad;
  }
};

// Sums of grad and of grad * (x - mean) per slice; writes grad where asked.
template <typename T, int kPack>
struct SumGrads {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocksPerSm = 2;
  static constexpr int kRun = kRunRows<kPack>;
  struct Shared {
    double sum[kPack][kThreads], products[kPack][kThreads];
  };
  NormGradient<T> gradient;
  int64_t rows, channels;
  const Sum<T>* coefficients;
  double* buffers;  // [2, channels, slices]

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    Shared& shared = t.template shared<Shared>();
    const RowTile tile = row_tile<kPack>(t, channels);
    const int64_t slice = t.block(), slices = t.blocks();
    const int64_t begin = rows * slice / slices, end = rows * (slice + 1) / slices;
    const Passed<T, kPack> passed(gradient, coefficients + tile.channel, channels);
    double sum[kPack] = {}, products[kPack] = {};
    const int64_t last = tile.lane < tile.lanes ? end : begin;
    for (int64_t row = begin + tile.lane; row < last; row += kRun * tile.lanes) {
      Pack<T, kPack> grad_out[kRun], x[kRun], out[kRun] = {};
      for (int i = 0; i < kRun; ++i) {
        const int64_t at = (row + i * tile.lanes) * channels + tile.channel;
        if (row + i * tile.lanes >= last) continue;
        grad_out[i] = load_pack<kPack>(gradient.grad_out + at);
        x[i] = load_pack<kPack>(gradient.x + at);
        if (gradient.out != nullptr) out[i] = load_pack<kPack>(gradient.out + at);
      }
      for (int c = 0; c < kPack; ++c) {
        S run_sum = 0, run_products = 0;
        for (int i = 0; i < kRun; ++i) {
          if (row + i * tile.lanes >= last) continue;
          const S distance = passed.distance(x[i], c);
          const S grad = passed.grad(grad_out[i], out[i], distance, c);
          run_sum += grad;
          run_products += grad * distance;
          grad_out[i].v[c] = rounded<T>(grad);
        }
        sum[c] += run_sum;
        products[c] += run_products;
      }
      if (gradient.grad_residual == nullptr) continue;
      for (int i = 0; i < kRun; ++i)
        if (row + i * tile.lanes < last)
          store_pack(gradient.grad_residual + (row + i * tile.lanes) * channels + tile.channel,
                     grad_out[i]);
    }
    for (int c = 0; c < kPack; ++c) {
      shared.sum[c][t.thread()] = sum[c];
      shared.products[c][t.thread()] = products[c];
    }
    join_lanes(t, tile, [&](int to, int from) {
      for (int c = 0; c < kPack; ++c) {
        shared.sum[c][to] += shared.sum[c][from];
        shared.products[c][to] += shared.products[c][from];
      }
    });
    if (tile.lane != 0) return;
    for (int c = 0; c < kPack; ++c) {
      double* to = buffers + (tile.channel + c) * slices + slice;
      to[0] = shared.sum[c][t.thread()];
      to[channels * slices] = shared.products[c][t.thread()];
    }
  }
};

// Gradients of bias and weight, and what grad_x still needs: a warp per channel.
template <typename S>
struct JoinGrads {
  static constexpr int kThreads = 128;
  NormParameters norm;
  const double* buffers;
  int64_t channels, slices;
  double share;
  S* coefficients;
  double* grad_parameters;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t c = t.block() * (kThreads / kWarp) + t.warp();
    if (c >= channels) return;
    double sum = 0, products = 0;
    for (int64_t i = t.lane(); i < slices; i += kWarp) {
      sum += buffers[c * slices + i];
      products += buffers[(channels + c) * slices + i];
    }
    sum = sum_of_warp(t, sum);
    products = sum_of_warp(t, products);
    if (t.lane() != 0) return;
    const ChannelNorm of = channel_norm(norm, c);
    const double grad_weight = weight_gradient(of, coefficients + c, sum, products);
    fill_slope(of, sum, grad_weight, share, coefficients + c, channels);
    grad_parameters[c] = sum;
    grad_parameters[channels + c] = grad_weight;
  }
};

template <typename T, int kPack>
struct GradRows {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocksPerSm = 2;
  static constexpr int kRun = kRunRows<kPack>;
  NormGradient<T> gradient;
  int64_t rows, channels;
  const Sum<T>* coefficients;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    const RowTile tile = row_tile<kPack>(t, channels);
    if (tile.lane >= tile.lanes) return;
    const S* of = coefficients + tile.channel;
    const Passed<T, kPack> passed(gradient, of, channels);
    const auto slope = load_pack<kPack>(of + kSlope * channels);
    const auto constant = load_pack<kPack>(of + kConstant * channels);
    int64_t row = t.block() * (tile.lanes * kLaneRows) + tile.lane;
    for (int r = 0; r < kLaneRows; r += kRun, row += kRun * tile.lanes) {
      Pack<T, kPack> grad_out[kRun], x[kRun], out[kRun] = {};
      for (int i = 0; i < kRun; ++i) {
        const int64_t at = (row + i * tile.lanes) * channels + tile.channel;
        if (row + i * tile.lanes >= rows) continue;
        grad_out[i] = load_pack<kPack>(gradient.grad_out + at);
        x[i] = load_pack<kPack>(gradient.x + at);
        if (gradient.out != nullptr) out[i] = load_pack<kPack>(gradient.out + at);
      }
      for (int i = 0; i < kRun; ++i) {
        if (row + i * tile.lanes >= rows) continue;
        for (int c = 0; c < kPack; ++c) {
          const S distance = passed.distance(x[i], c);
          const S grad = passed.grad(grad_out[i], out[i], distance, c);
          grad_out[i].v[c] =
              rounded<T>(constant.v[c] + slope.v[c] * distance + passed.scale.v[c] * grad);
        }
        store_pack(gradient.grad_x + (row + i * tile.lanes) * channels + tile.channel, grad_out[i]);
      }
    }
  }
};

}  // namespace

template <typename T>
Status batch_norm_grad(const NormGradient<T>& gradient, const NormParameters& norm, int64_t rows,
                       int64_t channels, double* buffers, Sum<T>* coefficients, Stream stream) {
  using S = Sum<T>;
  const int64_t slices = num_slices(rows);
  const double share = gradient.batch_moments && rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0;
  const Status filled = fill_norms(norm, channels, coefficients, stream);
  if (filled != kSuccess) return filled;
  return with_pack<T>(
      channels,
      [&](auto pack) {
        constexpr int kPack = decltype(pack)::value;
        const Status summed =
            launch(SumGrads<T, kPack>{gradient, rows, channels, coefficients, buffers},
                   Grid{slices, num_tiles(channels, kPack)}, stream);
        if (summed != kSuccess) return summed;
        const Status joined =
            launch(JoinGrads<S>{norm, buffers, channels, slices, share, coefficients,
                                gradient.grad_parameters},
                   num_blocks_for(channels, JoinGrads<S>::kThreads / kWarp), stream);
        if (joined != kSuccess) return joined;
        using Kernel = GradRows<T, kPack>;
        return launch(Kernel{gradient, rows, channels, coefficients},
                      row_grid(rows, channels, kPack, kLaneRows), stream);
      },
      gradient.grad_out, gradient.x, gradient.out, gradient.grad_x, gradient.grad_residual,
      coefficients);
}

#define POINTSEG_BATCH_NORM_GRAD(T)                                                                \
  template Status batch_norm_grad(const NormGradient<T>&, const NormParameters&, int64_t, int64_t, \
                                  double*, Sum<T>*, Stream);
POINTSEG_BATCH_NORM_GRAD(float)
POINTSEG_BATCH_NORM_GRAD(double)
POINTSEG_BATCH_NORM_GRAD(Half)
POINTSEG_BATCH_NORM_GRAD(Bfloat16)

}  // namespace pointseg::cuda
