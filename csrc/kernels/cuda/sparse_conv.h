// Launchers of sparse_conv by fused tiles: see pointseg/ops/sparse_conv.py for the contract.
#pragma once

#include <cstdint>

#include "../row_lists.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// Numbers that channels are padded to: 16 bytes of them.
template <typename T>
constexpr int64_t padded_channels(int64_t channels) {
  return (channels + kPiece<T> - 1) / kPiece<T> * kPiece<T>;
}

// packed[k][i][o] = weight[k][i][o], zeros beyond its channels; float32 is rounded to what tensor
// cores take. From is To or float.
template <typename From, typename To>
Status pack_weight(const From* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
                   const int64_t (&strides)[3], To* packed, Stream stream);

// T is Half, Bfloat16, or float for products of tf32.
template <typename T>
struct FusedConv {
  const T* feats;   // [num_in, padded in_channels], aligned to 16 bytes
  const T* weight;  // packed
  int64_t in_channels, out_channels, num_taps;
  RowLists lists;
  int64_t num_splits;    // of the taps
  const int32_t* order;  // [num_splits, rows] or null: rows in their own order
  float* slabs;          // [num_splits, rows, padded out_channels]; null for one split
  const float* bias;     // [out_channels] or null
  const T* residual;     // [rows, out_channels] or null
  bool relu;
  T* out;  // [rows, out_channels]
};

template <typename T>
Status fused_conv(const FusedConv<T>& conv, Stream stream);

}  // namespace pointseg::cuda
