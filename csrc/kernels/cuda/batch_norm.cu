// Norm, residual and ReLU in one pass over the rows, bound by their bytes.
#include "batch_norm.h"

#include "channel_norm.h"

namespace pointseg::cuda {
namespace {

template <typename T, int kPack>
struct NormRows {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocksPerSm = 2;
  static constexpr int kRun = kRunRows<kPack>;
  const T* x;
  const T* residual;
  bool relu;
  int64_t rows, channels;
  const Sum<T>* coefficients;
  T* out;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    const RowTile tile = row_tile<kPack>(t, channels);
    if (tile.lane >= tile.lanes) return;
    const S* of = coefficients + tile.channel;
    const auto mean = load_pack<kPack>(of + kMean * channels);
    const auto scale = load_pack<kPack>(of + kScale * channels);
    const auto offset = load_pack<kPack>(of + kOffset * channels);
    int64_t row = t.block() * (tile.lanes * kLaneRows) + tile.lane;
    for (int r = 0; r < kLaneRows; r += kRun, row += kRun * tile.lanes) {
      Pack<T, kPack> run[kRun], add[kRun] = {};
      for (int i = 0; i < kRun; ++i) {
        const int64_t at = (row + i * tile.lanes) * channels + tile.channel;
        if (row + i * tile.lanes >= rows) continue;
        run[i] = load_pack<kPack>(x + at);
        if (residual != nullptr) add[i] = load_pack<kPack>(residual + at);
      }
      for (int i = 0; i < kRun; ++i) {
        if (row + i * tile.lanes >= rows) continue;
        for (int c = 0; c < kPack; ++c) {
          S value = offset.v[c] + (widened(run[i].v[c]) - mean.v[c]) * scale.v[c];
          if (residual != nullptr) value += widened(add[i].v[c]);
          if (relu && value < S(0)) value = S(0);  // a NaN stays one
          run[i].v[c] = rounded<T>(value);
        }
        store_pack(out + (row + i * tile.lanes) * channels + tile.channel, run[i]);
      }
    }
  }
};

}  // namespace

template <typename T>
Status batch_norm(const T* x, const NormParameters& norm, const T* residual, bool relu,
                  int64_t rows, int64_t channels, Sum<T>* coefficients, T* out, Stream stream) {
  const Status status = fill_norms(norm, channels, coefficients, stream);
  if (status != kSuccess) return status;
  return with_pack<T>(
      channels,
      [&](auto pack) {
        using Kernel = NormRows<T, decltype(pack)::value>;
        return launch(Kernel{x, residual, relu, rows, channels, coefficients, out},
                      row_grid(rows, channels, pack, kLaneRows), stream);
      },
      x, residual, coefficients, out);
}

#define POINTSEG_BATCH_NORM(T)                                                                  \
  template Status batch_norm(const T*, const NormParameters&, const T*, bool, int64_t, int64_t, \
                             Sum<T>*, T*, Stream);
POINTSEG_BATCH_NORM(float)
POINTSEG_BATCH_NORM(double)
POINTSEG_BATCH_NORM(Half)
POINTSEG_BATCH_NORM(Bfloat16)

}  // namespace pointseg::cuda
