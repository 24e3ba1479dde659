// Depthwise convolution: every channel has its own scalar kernel, out[o, c] = sum_k in[i, c] *
// W[k, c], row by row over the row lists of a map.
#pragma once

#include <cstdint>

#include "../depthwise_conv.h"
#include "../parallel.h"

namespace pointseg::cpu {

// `packed` [taps, channels] is scratch of both.
template <typename T>
struct DepthwiseKernels {
  // in [num_in, channels], weight [taps, channels]; writes out [rows, channels].
  void (*forward)(const T* in, const T* weight, T* out, int64_t channels, int64_t num_taps,
                  const RowLists& lists, T* packed, const Parallel& parallel);
  // Writes grad_weight [taps, channels]. `buffers` [slices of the rows, taps, channels] is scratch.
  void (*weight_grad)(const T* in, const T* grad_out, T* grad_weight, int64_t channels,
                      int64_t num_taps, const RowLists& lists, T* packed, T* buffers,
                      const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const DepthwiseKernels<T>& depthwise_kernels();

}  // namespace pointseg::cpu
