// The arithmetic of `depthwise_conv.h` for the instruction set POINTSEG_ISA.
#include "depthwise_conv.h"

#include <algorithm>

#include "walk_map.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

template <typename T>
void forward(const T* in, const T* weight, T* out, int64_t channels, const MapPairs& map,
             const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t tap, int64_t i, int64_t o) {
    const T* __restrict x = in + i * channels;
    const T* __restrict w = weight + tap * channels;
    T* __restrict y = out + o * channels;
    for (int64_t c = 0; c < channels; ++c) y[c] += x[c] * w[c];
  });
}

template <typename T>
void weight_grad(const T* in, const T* grad_out, T* grad_weight, int64_t channels,
                 const MapPairs& map, const Parallel& parallel) {
  constexpr int64_t kChannels = 64;  // kept in registers or L1 while the pairs stream by
  parallel.tasks(map.num_taps, [&](int64_t tap) {
    for (int64_t c0 = 0; c0 < channels; c0 += kChannels) {
      const int64_t width = std::min(kChannels, channels - c0);
      T total[kChannels] = {};
      for (int64_t block = 0; block < map.num_blocks; ++block) {
        const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
        T sum[kChannels] = {};
        for (int64_t pair = segment[0]; pair < segment[1]; ++pair) {
          const T* __restrict x = in + int64_t{map.in_rows[pair]} * channels + c0;
          const T* __restrict g = grad_out + int64_t{map.out_rows[pair]} * channels + c0;
          for (int64_t c = 0; c < width; ++c) sum[c] += x[c] * g[c];
        }
        for (int64_t c = 0; c < width; ++c) total[c] += sum[c];
      }
      std::copy(total, total + width, grad_weight + tap * channels + c0);
    }
  });
}

template <typename T>
DepthwiseKernels<T> table() {
  return {forward<T>, weight_grad<T>};
}

}  // namespace

DepthwiseKernels<float> depthwise_kernels_f32() { return table<float>(); }
DepthwiseKernels<double> depthwise_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
