// Sorting, scanning and selecting whole arrays: cub's on a GPU, the standard library's in the
// emulation. `scratch` is device memory of as many bytes as the function of the same name with
// `_scratch` says. All are stable and give the same result twice.
#pragma once

#include <cstdint>

#include "stream.h"

namespace pointseg::cuda {

// Sorts int64 keys with a value for each: keys >= 0, of which only bits below `end_bit` are set, or
// any keys with all 64 bits.
int64_t sort_scratch(int64_t size);
Status sort_pairs(void* scratch, int64_t scratch_bytes, const int64_t* keys_in, int64_t* keys_out,
                  const int32_t* values_in, int32_t* values_out, int64_t size, int end_bit,
                  Stream stream);

// sums[i] = values[0] + ... + values[i - 1] for i = 0 .. size - 1. In place is allowed.
int64_t exclusive_sum_scratch(int64_t size);
Status exclusive_sum(void* scratch, int64_t scratch_bytes, const int64_t* values, int64_t* sums,
                     int64_t size, Stream stream);

// The elements whose flag is not 0, in order, and on the device how many there are.
int64_t select_scratch(int64_t size);
Status select_flagged(void* scratch, int64_t scratch_bytes, const int64_t* values,
                      const uint8_t* flags, int64_t* selected, int64_t* num_selected, int64_t size,
                      Stream stream);

}  // namespace pointseg::cuda
