// Mean and variance of every channel. Bound by reading x once.
#include "batch_norm.h"
#include "row_tile.h"

namespace pointseg::cuda {
namespace {

// Rows are taken in runs that registers hold. The arithmetic on a run is that of the rows, and
// measures from the mean of the run; what it amounts to goes into sums in double that measure from
// the first row of the slice. That is one number of the channel, so its distance from the mean
// cannot spoil the variance by more than the number of rows times the precision of double.
template <typename T, int kPack>
struct SliceMoments {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kBlocksPerSm = 2;
  static constexpr int kRun = kPack == 8 ? 4 : 8;
  struct Shared {
    double sum[kPack][kThreads], squares[kPack][kThreads];
  };
  const T* x;
  int64_t rows, channels;
  double* buffers;  // [2, channels, slices]: mean, sum of squared distances from it

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    Shared& shared = t.template shared<Shared>();
    const RowTile tile = row_tile<kPack>(t, channels);
    const int64_t slice = t.block(), slices = t.blocks();
    const int64_t begin = rows * slice / slices, end = rows * (slice + 1) / slices;
    Pack<T, kPack> origin{};
    if (begin < end) origin = load_pack<kPack>(x + begin * channels + tile.channel);
    double sum[kPack] = {}, squares[kPack] = {};
    const int64_t last = tile.lane < tile.lanes ? end : begin;
    for (int64_t row = begin + tile.lane; row < last; row += kRun * tile.lanes) {
      const int64_t left = (last - row + tile.lanes - 1) / tile.lanes;
      const int count = left < kRun ? static_cast<int>(left) : kRun;
      Pack<T, kPack> run[kRun];
      for (int i = 0; i < kRun; ++i)
        if (i < count)
          run[i] = load_pack<kPack>(x + (row + i * tile.lanes) * channels + tile.channel);
      for (int c = 0; c < kPack; ++c) {
        S centre = 0, off = 0, around = 0;
        for (int i = 0; i < kRun; ++i)
          if (i < count) centre += widened(run[i].v[c]);
        centre /= static_cast<S>(count);
        for (int i = 0; i < kRun; ++i) {
          const S distance = i < count ? widened(run[i].v[c]) - centre : S(0);
          off += distance;
          around += distance * distance;
        }
        const double from = double{centre} - double{widened(origin.v[c])};
        sum[c] += count * from + off;
        squares[c] += around + from * (count * from + 2 * double{off});
      }
    }
    for (int c = 0; c < kPack; ++c) {
      shared.sum[c][t.thread()] = sum[c];
      shared.squares[c][t.thread()] = squares[c];
    }
    join_lanes(t, tile, [&](int to, int from) {
      for (int c = 0; c < kPack; ++c) {
        shared.sum[c][to] += shared.sum[c][from];
        shared.squares[c][to] += shared.squares[c][from];
      }
    });
    if (tile.lane != 0) return;
    for (int c = 0; c < kPack; ++c) {
      const double total = shared.sum[c][t.thread()];
      const double mean = begin < end ? total / static_cast<double>(end - begin) : 0.0;
      double* to = buffers + (tile.channel + c) * slices + slice;
      to[0] = double{widened(origin.v[c])} + mean;
      to[channels * slices] = shared.squares[c][t.thread()] - mean * total;
    }
  }
};

// The moments of the slices become one: a warp per channel.
struct JoinMoments {
  static constexpr int kThreads = 128;
  const double* buffers;
  int64_t rows, channels, slices;
  double* mean;
  double* var;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t channel = t.block() * (kThreads / kWarp) + t.warp();
    if (channel >= channels) return;
    const double* means = buffers + channel * slices;
    const double* squares = means + channels * slices;
    double sum = 0;
    for (int64_t i = t.lane(); i < slices; i += kWarp) sum += size_of(i) * means[i];
    const double centre = rows > 0 ? sum_of_warp(t, sum) / static_cast<double>(rows) : 0.0;
    double around = 0;
    for (int64_t i = t.lane(); i < slices; i += kWarp) {
      const double distance = means[i] - centre;
      around += squares[i] + size_of(i) * distance * distance;
    }
    around = sum_of_warp(t, around);
    if (t.lane() != 0) return;
    mean[channel] = centre;
    var[channel] = rows > 0 ? around / static_cast<double>(rows) : 0.0;
  }

  POINTSEG_DEVICE double size_of(int64_t slice) const {
    return static_cast<double>(rows * (slice + 1) / slices - rows * slice / slices);
  }
};

}  // namespace

template <typename T>
Status batch_norm_moments(const T* x, int64_t rows, int64_t channels, double* buffers, double* mean,
                          double* var, Stream stream) {
  const int64_t slices = num_slices(rows);
  const Status status = with_pack<T>(
      channels,
      [&](auto pack) {
        constexpr int kPack = decltype(pack)::value;
        return launch(SliceMoments<T, kPack>{x, rows, channels, buffers},
                      Grid{slices, num_tiles(channels, kPack)}, stream);
      },
      x);
  if (status != kSuccess) return status;
  return launch(JoinMoments{buffers, rows, channels, slices, mean, var},
                num_blocks_for(channels, JoinMoments::kThreads / kWarp), stream);
}

#define POINTSEG_MOMENTS(T) \
  template Status batch_norm_moments(const T*, int64_t, int64_t, double*, double*, double*, Stream);
POINTSEG_MOMENTS(float)
POINTSEG_MOMENTS(double)
POINTSEG_MOMENTS(Half)
POINTSEG_MOMENTS(Bfloat16)

}  // namespace pointseg::cuda
