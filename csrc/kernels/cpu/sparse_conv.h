// Sparse convolution as a fused loop over the pairs of a kernel map: no gathered copy of the input,
// no buffer of products. One source, compiled once per instruction set (`sparse_conv_isa.cpp`).
#pragma once

#include <cstdint>

#include "../parallel.h"

namespace pointseg::cpu {

// Rows of `in` [num_in, in_channels] and `out` [num_out, out_channels], paired by a kernel map
// (`kernel_map.h`).
template <typename T>
struct ConvArgs {
  const T* in;
  T* out;
  int64_t in_channels;
  int64_t out_channels;
  const int32_t* in_rows;
  const int32_t* out_rows;
  const int64_t* segments;
  int64_t num_blocks;
  int64_t num_taps;
};

template <typename T>
struct WeightGradArgs {
  const T* in;
  const T* grad_out;
  T* grad_weight;  // [taps, in_channels, out_channels]
  int64_t in_channels;
  int64_t out_channels;
  const int32_t* in_rows;
  const int32_t* out_rows;
  const int64_t* segments;
  int64_t num_blocks;
  int64_t num_taps;
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
  // out[o] += in[i] * W[k] for every pair (i, o) of tap k; per output row in tap order.
  void (*forward)(const ConvArgs<T>& args, const T* packed, const Parallel& parallel);
  // grad_weight[k] = sum over the pairs (i, o) of tap k, in map order, of in[i]^T grad_out[o].
  void (*weight_grad)(const WeightGradArgs<T>& args, const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const ConvKernels<T>& conv_kernels();

}  // namespace pointseg::cpu
