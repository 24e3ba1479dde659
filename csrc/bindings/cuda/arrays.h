// Sorting and summing tensors of whole numbers, with the scratch memory that takes.
#pragma once

#include <bit>

#include "../../kernels/cuda/algorithms.h"
#include "common.h"

namespace pointseg {

// The bits that numbers below `end` need.
inline int bits_below(int64_t end) {
  return end > 1 ? static_cast<int>(std::bit_width(static_cast<uint64_t>(end - 1))) : 1;
}

struct SortedPairs {
  Tensor keys;    // int64
  Tensor values;  // int32
};

// Stable; for `end_bit` see algorithms.h.
inline SortedPairs sort_pairs(const Tensor& keys, const Tensor& values, int end_bit, const char* op,
                              const OnDevice& device) {
  const int64_t size = keys.size(0), bytes = size > 0 ? cuda::sort_scratch(size) : 0;
  SortedPairs sorted{empty(keys, {size}, ScalarType::Long), empty(keys, {size}, ScalarType::Int)};
  if (size == 0) return sorted;
  const Tensor memory = scratch(keys, bytes);
  check_launch(cuda::sort_pairs(mptr<uint8_t>(memory), bytes, cptr<int64_t>(keys),
                                mptr<int64_t>(sorted.keys), cptr<int32_t>(values),
                                mptr<int32_t>(sorted.values), size, end_bit, device.stream()),
               op, keys);
  return sorted;
}

// Replaces int64 numbers by the sums of those before them.
inline void exclusive_sum(const Tensor& numbers, const char* op, const OnDevice& device) {
  const int64_t size = numbers.size(0), bytes = cuda::exclusive_sum_scratch(size);
  const Tensor memory = scratch(numbers, bytes);
  auto* values = mptr<int64_t>(numbers);
  check_launch(
      cuda::exclusive_sum(mptr<uint8_t>(memory), bytes, values, values, size, device.stream()), op,
      numbers);
}

}  // namespace pointseg
