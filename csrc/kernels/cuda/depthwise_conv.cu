// Bound by the gathered rows: pairs * channels * sizeof(T) bytes, most of them from L2.
#include "depthwise_conv.h"

#include "../depthwise_conv.h"
#include "staged_weights.h"

namespace pointseg::cuda {
namespace {

template <typename T, int V>
struct Convolve {
  static constexpr int kLanes = V;
  using S = Sum<T>;

  const T* in;
  T* out;
  int64_t channels;
  RowLists lists;

  POINTSEG_DEVICE void operator()(int64_t row, int64_t vector, const WeightLanes<S, V>& weight,
                                  int64_t weight_stride) const {
    convolve_row<Lanes<T, V>>(lists, row, in + vector * V, channels, weight, weight_stride)
        .store(out + row * channels + vector * V);
  }
};

}  // namespace

template <typename T>
Status depthwise_conv(const T* in, const Sum<T>* weight, T* out, int64_t channels, int64_t num_taps,
                      const RowLists& lists, Stream stream) {
  return with_lanes<T>(
      channels, num_taps,
      [&]<int V>() {
        return launch_over_rows(Convolve<T, V>{in, out, channels, lists}, weight, num_taps,
                                channels, lists.num_rows, stream);
      },
      in, out, weight);
}

#define POINTSEG_DEPTHWISE(T)                                                                    \
  template Status depthwise_conv(const T*, const Sum<T>*, T*, int64_t, int64_t, const RowLists&, \
                                 Stream);
POINTSEG_DEPTHWISE(float)
POINTSEG_DEPTHWISE(double)
POINTSEG_DEPTHWISE(Half)
POINTSEG_DEPTHWISE(Bfloat16)
#undef POINTSEG_DEPTHWISE

}  // namespace pointseg::cuda
