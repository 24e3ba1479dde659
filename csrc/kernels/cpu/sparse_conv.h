// Sparse convolution as a fused loop over the pairs of a kernel map: no gathered copy of the input,
// no buffer of products. One source, compiled once per instruction set (`sparse_conv_isa.cpp`).
#pragma once

#include <algorithm>
#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// Rows of `in` [num_in, in_channels] and `out` [num_out, out_channels], paired by `map`. Sums are
// of type T; In is T, or uint16_t for the bits of bfloat16.
template <typename T, typename In = T>
struct ConvArgs {
  const In* in;
  T* out;
  int64_t in_channels;
  int64_t out_channels;
  int64_t num_out;
  const T* bias;      // [out_channels] or null
  const T* residual;  // [num_out, out_channels] or null; may be `out`
  bool relu;
  MapPairs map;
};

// How the gradient of the weights is shared out. A task takes the blocks of one slice for one group
// of taps, so that rows which it has read serve the next tap, and writes to the buffer of its
// slice; buffers are added in order. Only sizes decide, so sums have one order.
struct GradSplit {
  int64_t slices;
  int64_t groups;
};

inline GradSplit grad_split(int64_t num_blocks, int64_t num_taps, int64_t in_channels,
                            int64_t out_channels) {
  constexpr int64_t tasks = 16;
  // Buffers take at most a quarter of the room of the rows that are read.
  const int64_t read = num_blocks * kBlockRows * (in_channels + out_channels) / 4;
  const int64_t buffer = std::max<int64_t>(num_taps * in_channels * out_channels, 1);
  const int64_t slices = std::max<int64_t>(std::min({read / buffer, tasks, num_blocks}), 1);
  return {slices, std::min(num_taps, slices == 1 ? num_taps : (tasks + slices - 1) / slices)};
}

template <typename T>
struct WeightGradArgs {
  const T* in;
  const T* grad_out;
  int64_t in_channels;
  int64_t out_channels;
  MapPairs map;
  GradSplit split;
};

// The functions of one instruction set.
template <typename T>
struct ConvKernels {
  // Elements that one tap of [in_channels, out_channels] weights takes when packed.
  int64_t (*packed_size)(int64_t in_channels, int64_t out_channels);
  // weight element (k, ci, co) is at weight[k * stride_tap + ci * stride_in + co * stride_out].
  void (*pack)(const T* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
               int64_t stride_tap, int64_t stride_in, int64_t stride_out, T* packed,
               const Parallel& parallel);
  // Writes out[o] = bias + residual[o] + sum over the pairs (i, o) of in[i] * W[k], in tap order,
  // and what of it is negative as 0 with `relu`.
  void (*forward)(const ConvArgs<T>& args, const T* packed, const Parallel& parallel);
  // Writes grad_weight [taps, in_channels, out_channels]: for tap k the sum over its pairs (i, o)
  // of in[i]^T grad_out[o]. `buffers` [slices, taps, in_channels, out_channels] is scratch.
  void (*weight_grad)(const WeightGradArgs<T>& args, T* buffers, T* grad_weight,
                      const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const ConvKernels<T>& conv_kernels();

// The first three for rows and weights that are bits of bfloat16; in_channels is even.
struct Bf16ConvKernels {
  int64_t (*packed_size)(int64_t in_channels, int64_t out_channels);
  void (*pack)(const uint16_t* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
               int64_t stride_tap, int64_t stride_in, int64_t stride_out, uint16_t* packed,
               const Parallel& parallel);
  void (*forward)(const ConvArgs<float, uint16_t>& args, const uint16_t* packed,
                  const Parallel& parallel);
};

// Null where the instruction set that this process uses has no products of bfloat16.
const Bf16ConvKernels* bf16_conv_kernels();

}  // namespace pointseg::cpu
