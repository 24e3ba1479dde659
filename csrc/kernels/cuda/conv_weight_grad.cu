#include "conv_weight_grad.h"

#include <algorithm>

#include "executor.h"
#include "weight_grad_tile.h"

namespace pointseg::cuda {
namespace {

template <typename S>
struct SumParts {
  static constexpr int kThreads = 256;
  const S* parts;
  int64_t num_parts;
  int64_t size;
  S* sum;
  bool onto;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= size) return;
    S total = onto ? sum[i] : S(0);
    for (int64_t part = 0; part < num_parts; ++part) total += parts[part * size + i];
    sum[i] = total;
  }
};

// Channels of a tile, both ways. The narrower side decides: the other one takes more tiles.
int64_t tile_for(int64_t in_channels, int64_t out_channels) {
  const int64_t narrower = std::min(in_channels, out_channels);
  return narrower <= 32 ? 32 : narrower <= 64 ? 64 : 128;
}

int64_t num_tiles(int64_t in_channels, int64_t out_channels, int64_t tile) {
  return num_blocks_for(in_channels, tile) * num_blocks_for(out_channels, tile);
}

template <typename T, int kTile>
Status launch_tiles(const ConvWeightGradArgs<T>& args, Stream stream) {
  const auto in_pieces = [](const T* rows, int64_t channels) {
    return channels % kPiece<T> == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
  };
  return launch(
      WeightGradTile<T, kTile>{args, in_pieces(args.feats, args.in_channels),
                               in_pieces(args.grad_out, args.out_channels)},
      args.map.num_taps * args.num_slices * num_tiles(args.in_channels, args.out_channels, kTile),
      stream);
}

}  // namespace

int64_t weight_grad_slices(const MapPairs& map, int64_t in_channels, int64_t out_channels) {
  constexpr int64_t kTasks = 1024;                     // a few for every place on a large GPU
  constexpr int64_t kMostNumbers = int64_t{16} << 20;  // 64 MiB
  const int64_t tile = tile_for(in_channels, out_channels);
  const int64_t tasks = map.num_taps * num_tiles(in_channels, out_channels, tile);
  const int64_t numbers = map.num_taps * in_channels * out_channels;
  if (tasks == 0) return 1;
  return std::max<int64_t>(
      std::min({num_blocks_for(kTasks, tasks), kMostNumbers / numbers, map.num_blocks}), 1);
}

template <typename T>
Status conv_weight_grad(const ConvWeightGradArgs<T>& args, Stream stream) {
  switch (tile_for(args.in_channels, args.out_channels)) {
    case 32:
      return launch_tiles<T, 32>(args, stream);
    case 64:
      return launch_tiles<T, 64>(args, stream);
    default:
      return launch_tiles<T, 128>(args, stream);
  }
}

template <typename S>
Status sum_parts(const S* parts, int64_t num_parts, int64_t size, S* sum, bool onto,
                 Stream stream) {
  return launch(SumParts<S>{parts, num_parts, size, sum, onto},
                num_blocks_for(size, SumParts<S>::kThreads), stream);
}

template Status conv_weight_grad<float>(const ConvWeightGradArgs<float>&, Stream);
template Status conv_weight_grad<Half>(const ConvWeightGradArgs<Half>&, Stream);
template Status conv_weight_grad<Bfloat16>(const ConvWeightGradArgs<Bfloat16>&, Stream);
template Status sum_parts<float>(const float*, int64_t, int64_t, float*, bool, Stream);
template Status sum_parts<double>(const double*, int64_t, int64_t, double*, bool, Stream);

}  // namespace pointseg::cuda
