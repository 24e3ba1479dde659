// What there is one of per channel, prepared in double by a small kernel for those that pass over
// the rows, and how these cut the rows.
#pragma once

#include "batch_norm.h"
#include "row_tile.h"

namespace pointseg::cuda {

// Rows of a lane whose loads are under way together, as many as registers do for, and rows of a
// lane in a pass that makes no sums.
template <int kPack>
constexpr int kRunRows = kPack == 8 ? 2 : 4;
constexpr int kLaneRows = 8;

POINTSEG_DEVICE double value_at(const ChannelValues& values, int64_t c) {
  switch (values.dtype) {
    case ChannelValues::Dtype::float64:
      return static_cast<const double*>(values.at)[c];
    case ChannelValues::Dtype::float32:
      return static_cast<const float*>(values.at)[c];
    case ChannelValues::Dtype::float16:
      return widened(static_cast<const Half*>(values.at)[c]);
    default:
      return widened(static_cast<const Bfloat16*>(values.at)[c]);
  }
}

POINTSEG_DEVICE ChannelNorm channel_norm(const NormParameters& norm, int64_t c) {
  return {value_at(norm.mean, c), value_at(norm.var, c), value_at(norm.weight, c),
          value_at(norm.bias, c), norm.eps};
}

template <typename S>
struct FillNorm {
  static constexpr int kThreads = 128;
  NormParameters norm;
  int64_t channels;
  S* coefficients;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t c = t.block() * kThreads + t.thread();
    if (c < channels) fill_norm(channel_norm(norm, c), coefficients + c, channels);
  }
};

template <typename S>
Status fill_norms(const NormParameters& norm, int64_t channels, S* coefficients, Stream stream) {
  return launch(FillNorm<S>{norm, channels, coefficients},
                num_blocks_for(channels, FillNorm<S>::kThreads), stream);
}

}  // namespace pointseg::cuda
