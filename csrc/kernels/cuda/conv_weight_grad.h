// Launchers of sparse_conv_weight_grad: see pointseg/ops/sparse_conv.py for the contract.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// For every tap k the sum over its pairs (i, o) of feats[i]^T grad_out[o], by tensor cores: float32
// sums of products of 16-bit numbers, or of float32 numbers that are rounded to 10 bits of
// mantissa.
template <typename T>
struct ConvWeightGradArgs {
  const T* feats;     // [num_in, in_channels]
  const T* grad_out;  // [num_out, out_channels]
  int64_t in_channels;
  int64_t out_channels;
  MapPairs map;
  int64_t num_slices;  // of the blocks of the map
  float* parts;        // [num_slices, taps, in_channels, out_channels]: what each slice adds
};

// How many slices keep a GPU busy in little memory. Sizes alone decide, so sums have one order.
int64_t weight_grad_slices(const MapPairs& map, int64_t in_channels, int64_t out_channels);

template <typename T>
Status conv_weight_grad(const ConvWeightGradArgs<T>& args, Stream stream);

// sum[i] = parts[0][i] + parts[1][i] + ..., in this order; with `onto` it starts from what is
// there.
template <typename S>
Status sum_parts(const S* parts, int64_t num_parts, int64_t size, S* sum, bool onto, Stream stream);

}  // namespace pointseg::cuda
