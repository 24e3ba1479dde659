// Sums of rows by bin, and their gradient. Bound by gathering the rows once.
#include "scatter_reduce.h"

#include "reduce_bins.h"

namespace pointseg::cuda {
namespace {

template <typename T, int kPackSize>
struct SumRule {
  using S = Sum<T>;
  static constexpr int kPack = kPackSize;
  using State = Pack<S, kPack>;
  int64_t channels;
  BinSum<T> of;

  POINTSEG_DEVICE State none() const { return {}; }
  struct Loaded {
    Pack<T, kPack> in;
    S weight;
  };
  POINTSEG_DEVICE Loaded load(int32_t row, int64_t c) const {
    const int64_t from = of.divisor == 1 ? row : row / static_cast<int32_t>(of.divisor);
    return {load_pack<kPack>(of.src + from * channels + c),
            of.weights != nullptr ? of.weights[row] : S(1)};
  }
  POINTSEG_DEVICE void take(State& state, int32_t, const Loaded& loaded) const {
    for (int i = 0; i < kPack; ++i) state.v[i] += loaded.weight * widened(loaded.in.v[i]);
  }
  POINTSEG_DEVICE void join(State& state, const State& later) const {
    for (int i = 0; i < kPack; ++i) state.v[i] += later.v[i];
  }
  POINTSEG_DEVICE void keep(const State& state, int64_t place, int64_t c) const {
    store_pack(of.places + place * channels + c, state);
  }
  POINTSEG_DEVICE State kept(int64_t place, int64_t c) const {
    return load_pack<kPack>(of.places + place * channels + c);
  }
  POINTSEG_DEVICE void finish(const State& state, int64_t bin, int64_t rows, int64_t c,
                              bool first) const {
    const S share = static_cast<S>(of.mean && rows > 1 ? rows : 1);
    Pack<T, kPack> out;
    for (int i = 0; i < kPack; ++i) out.v[i] = rounded<T>(state.v[i] / share);
    store_pack(of.out + bin * channels + c, out);
    if (of.counts != nullptr && first) of.counts[bin] = rows;
  }
};

template <typename T, int kPack>
struct SumBinsGrad {
  static constexpr int kThreads = kTileThreads;
  const T* grad_out;
  const int64_t* index;
  const int64_t* counts;
  int64_t num_rows, num_bins, channels;
  T* grad_src;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    const RowTile tile = row_tile<kPack>(t, channels);
    const int64_t row = t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || row >= num_rows) return;
    const int64_t bin = index[row];
    Pack<T, kPack> grad{};
    if (bin >= 0 && bin < num_bins) {
      grad = load_pack<kPack>(grad_out + bin * channels + tile.channel);
      if (counts != nullptr) {
        const S count = static_cast<S>(counts[bin]);
        for (int i = 0; i < kPack; ++i) grad.v[i] = rounded<T>(widened(grad.v[i]) / count);
      }
    }
    store_pack(grad_src + row * channels + tile.channel, grad);
  }
};

}  // namespace

int64_t scatter_places(int64_t num_rows) { return num_places(num_rows); }

template <typename T>
Status sum_bins(const BinSum<T>& sum, const RowGroups& groups, Stream stream) {
  return with_pack<T>(
      sum.channels,
      [&](auto pack) {
        return reduce_bins(SumRule<T, decltype(pack)::value>{sum.channels, sum}, groups, stream);
      },
      sum.src, sum.places, sum.out);
}

template <typename T>
Status sum_bins_grad(const T* grad_out, const int64_t* index, const int64_t* counts,
                     int64_t num_rows, int64_t num_bins, int64_t channels, T* grad_src,
                     Stream stream) {
  return with_pack<T>(
      channels,
      [&](auto pack) {
        return launch(SumBinsGrad<T, decltype(pack)::value>{grad_out, index, counts, num_rows,
                                                            num_bins, channels, grad_src},
                      row_grid(num_rows, channels, pack, 1), stream);
      },
      grad_out, grad_src);
}

#define POINTSEG_SUM_BINS(T)                                                                \
  template Status sum_bins(const BinSum<T>&, const RowGroups&, Stream);                     \
  template Status sum_bins_grad(const T*, const int64_t*, const int64_t*, int64_t, int64_t, \
                                int64_t, T*, Stream);
POINTSEG_SUM_BINS(float)
POINTSEG_SUM_BINS(double)
POINTSEG_SUM_BINS(Half)
POINTSEG_SUM_BINS(Bfloat16)

}  // namespace pointseg::cuda
