// Rows by tap: what a convolution by library GEMMs needs before and after them. See
// pointseg/ops/sparse_conv.py for the contract.
//
// In the order of taps all pairs of tap 0 come first, block after block, then those of tap 1, and
// so on; a pair's place is its number in that order. Work goes on in chunks of consecutive places,
// which bound the memory and may end in the middle of a tap.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// sizes[k * num_blocks + b] = pairs of block b and tap k: their exclusive sum is where each group
// begins in the order of taps.
Status tap_group_sizes(const MapPairs& map, int64_t* sizes, Stream stream);

// Places begin .. end - 1, which are pairs of taps first_tap .. first_tap + num_taps - 1.
struct TapChunk {
  MapPairs map;
  const int64_t* group_begins;  // [taps, blocks]
  int64_t first_tap;
  int64_t num_taps;
  int64_t begin;
  int64_t end;
};

// to[p - begin] = from[rows[pair at place p]], widened; `rows` is one of the map's two lists.
template <typename T>
Status gather_by_tap(const TapChunk& chunk, const int32_t* rows, const T* from, int64_t channels,
                     Sum<T>* to, Stream stream);

// places[t * num_out + o] = p - begin of the pair of output row o and tap first_tap + t, or -1.
Status places_by_tap(const TapChunk& chunk, int64_t num_out, int32_t* places, Stream stream);

// What one chunk adds to the sum of every output row, in tap order.
template <typename T>
struct ProductSums {
  const Sum<T>* products;  // [places of the chunk, channels]
  const int32_t* places;   // [num_taps, num_out]
  int64_t num_taps;
  int64_t num_out;
  int64_t channels;
  const Sum<T>* so_far;  // [num_out, channels], or null: from bias + residual on
  const Sum<T>* bias;    // [channels] or null
  const T* residual;     // [num_out, channels] or null
  bool relu;             // of the last chunk
  Sum<T>* sums;          // where to leave them for the next chunk; may be so_far
  T* out;                // null but for the last chunk, which rounds them
};

template <typename T>
Status sum_by_tap(const ProductSums<T>& sums, Stream stream);

}  // namespace pointseg::cuda
