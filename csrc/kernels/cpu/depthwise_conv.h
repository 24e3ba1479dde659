// Depthwise convolution: every channel has its own scalar kernel, out[o, c] += in[i, c] * W[k, c].
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

template <typename T>
struct DepthwiseKernels {
  // in [num_in, channels], weight [taps, channels]; adds to out [num_out, channels], per output row
  // in tap order.
  void (*forward)(const T* in, const T* weight, T* out, int64_t channels, const MapPairs& map,
                  const Parallel& parallel);
  // Writes grad_weight [taps, channels]: the sum over the pairs (i, o) of a tap of in[i] *
  // grad_out[o], first inside each block, then over blocks in order.
  void (*weight_grad)(const T* in, const T* grad_out, T* grad_weight, int64_t channels,
                      const MapPairs& map, const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const DepthwiseKernels<T>& depthwise_kernels();

}  // namespace pointseg::cpu
