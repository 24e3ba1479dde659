// Depthwise convolution on CUDA: see pointseg/ops/depthwise_conv.py.
//
// T: float, double, Half or Bfloat16; weights are Sum<T>. Instantiated in `depthwise_conv.cu`. The
// gradient of the weights is made by `tap_sums.h`.
#pragma once

#include "../row_lists.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// in [num_in, channels], weight [taps, channels]; writes out [rows, channels].
template <typename T>
Status depthwise_conv(const T* in, const Sum<T>* weight, T* out, int64_t channels, int64_t num_taps,
                      const RowLists& lists, Stream stream);

}  // namespace pointseg::cuda
