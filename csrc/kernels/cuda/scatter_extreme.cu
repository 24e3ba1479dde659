// Largest and smallest of rows by bin, and their gradient, one column per thread.
#include "../reduce.h"
#include "reduce_bins.h"
#include "scatter_reduce.h"

namespace pointseg::cuda {
namespace {

template <typename T>
struct ExtremeRule {
  using S = Sum<T>;
  static constexpr int kPack = 1;
  struct State {
    S best;
    int32_t row;  // -1: none
  };
  int64_t channels;
  const T* src;
  bool max;
  int32_t* places;
  T* out;
  int64_t* winner;

  POINTSEG_DEVICE State none() const { return {S(0), -1}; }
  POINTSEG_DEVICE S load(int32_t row, int64_t c) const { return widened(src[row * channels + c]); }
  POINTSEG_DEVICE void take(State& state, int32_t row, S value) const { join(state, {value, row}); }
  POINTSEG_DEVICE void join(State& state, const State& later) const {
    if (later.row < 0) return;
    const bool better =
        max ? replaces<true>(later.best, state.best) : replaces<false>(later.best, state.best);
    if (state.row < 0 || better) state = later;
  }
  // The row is enough: it is in src.
  POINTSEG_DEVICE void keep(const State& state, int64_t place, int64_t c) const {
    places[place * channels + c] = state.row;
  }
  POINTSEG_DEVICE State kept(int64_t place, int64_t c) const {
    const int32_t row = places[place * channels + c];
    return {load(row, c), row};
  }
  POINTSEG_DEVICE void finish(const State& state, int64_t bin, int64_t, int64_t c, bool) const {
    out[bin * channels + c] = rounded<T>(state.best);
    winner[bin * channels + c] = state.row;
  }
};

template <typename T>
struct ExtremeBinsGrad {
  static constexpr int kThreads = kTileThreads;
  const T* grad_out;
  const int64_t* index;
  const int64_t* winner;
  int64_t num_rows, num_bins, channels;
  T* grad_src;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const RowTile tile = row_tile<1>(t, channels);
    const int64_t row = t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || row >= num_rows) return;
    const int64_t bin = index[row];
    T grad{};
    if (bin >= 0 && bin < num_bins && winner[bin * channels + tile.channel] == row)
      grad = grad_out[bin * channels + tile.channel];
    grad_src[row * channels + tile.channel] = grad;
  }
};

}  // namespace

template <typename T>
Status extreme_bins(const T* src, int64_t channels, bool max, const RowGroups& groups,
                    int32_t* places, T* out, int64_t* winner, Stream stream) {
  return reduce_bins(ExtremeRule<T>{channels, src, max, places, out, winner}, groups, stream);
}

template <typename T>
Status extreme_bins_grad(const T* grad_out, const int64_t* index, const int64_t* winner,
                         int64_t num_rows, int64_t num_bins, int64_t channels, T* grad_src,
                         Stream stream) {
  return launch(ExtremeBinsGrad<T>{grad_out, index, winner, num_rows, num_bins, channels, grad_src},
                row_grid(num_rows, channels, 1, 1), stream);
}

#define POINTSEG_EXTREME_BINS(T)                                                                  \
  template Status extreme_bins(const T*, int64_t, bool, const RowGroups&, int32_t*, T*, int64_t*, \
                               Stream);                                                           \
  template Status extreme_bins_grad(const T*, const int64_t*, const int64_t*, int64_t, int64_t,   \
                                    int64_t, T*, Stream);
POINTSEG_EXTREME_BINS(float)
POINTSEG_EXTREME_BINS(double)
POINTSEG_EXTREME_BINS(Half)
POINTSEG_EXTREME_BINS(Bfloat16)

}  // namespace pointseg::cuda
