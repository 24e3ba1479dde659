// Kernels that only use the executor, so that what emulated threads do and what a GPU does can both
// be compared with what `executor.h` promises. See tests/ops/test_executor.py.
#pragma once

#include <cstdint>

#include "stream.h"

namespace pointseg::cuda {

constexpr int kCheckThreads = 64;  // two warps
constexpr int kCheckBlocks = 2;
constexpr int kCheckParts = 2;

// What one thread reads; it is copied from in 16 bytes. Words are bits: of integers, of float32, or
// of pairs of 16-bit numbers.
struct alignas(16) CheckInput {
  int32_t vote, value, from_lane, there;
  int32_t copied[2][4];
  int32_t matrix_row[4];                // row `lane` of the 32 rows of a warp's four matrices
  int32_t a[3][4], b[3][2], sum[3][4];  // fragments for Half, Bfloat16, Tf32
};

// What one thread writes.
struct CheckOutput {
  int32_t thread, warp, lane, block, blocks, part, parts;
  int32_t ballot, shuffled, crossed[5];
  int32_t wide[2];   // an int64 from another lane
  int32_t early[4];  // own copy of the first group, after wait<1>
  int32_t late[4];   // another thread's copy of the second group, after wait<0>
  int32_t matrices[4], turned[4];
  int32_t product[3][4];
};

// inputs [kCheckThreads], outputs [kCheckParts, kCheckBlocks, kCheckThreads].
Status executor_check(const CheckInput* inputs, CheckOutput* outputs, Stream stream);

// Of every word: its lower half widened as Half and as Bfloat16 (bits of float32), and the word, as
// a float32, rounded to Half, to Bfloat16, and for tensor cores.
struct NumberCheck {
  int32_t from_half, from_bfloat16, to_half, to_bfloat16, to_tf32;
};
Status number_check(const int32_t* words, int64_t size, NumberCheck* results, Stream stream);

}  // namespace pointseg::cuda
