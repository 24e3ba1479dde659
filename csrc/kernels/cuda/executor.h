// How kernels are written here, once, for a GPU and for the emulated threads of the tests.
//
// A kernel is a struct. Its members are the arguments, its call operator is what one thread does:
//
//   struct Scale {
//     static constexpr int kThreads = 128;           // of a block
//     struct Shared { float tile[kThreads]; };       // optional: what the threads of a block share
//     const float* in;
//     float* out;
//     int64_t size;
//
//     template <class Thread>
//     POINTSEG_DEVICE void operator()(Thread& t) const { ... }
//   };
//
//   return launch(Scale{in, out, size}, num_blocks_for(size, Scale::kThreads), stream);
//
// `static constexpr int kBlocksPerSm` may be given, too: how many blocks the registers must do for.
//
// Thread is one of two types with the same members:
//
//   thread(), warp(), lane()     place in the block; warps have 32 lanes
//   block(), blocks()            place in the first dimension of the grid, and its size
//   part(), parts()              the same of the second dimension
//   shared<S>()                  the block's S&, with whatever was there before
//   sync()                       all threads of the block
//   warp_sync()                  all lanes of the warp
//   ballot(p)                    bit l: p of lane l
//   shuffle(v, lane)             v of that lane; shuffle_xor(v, mask): of lane ^ mask
//   copy_async(to, from, there)  16 bytes from global to shared memory, zeros unless `there`; both
//                                aligned to 16. They arrive with wait():
//   commit()                     closes a group of copies
//   wait<n>()                    this thread's copies, but for the last n groups, have arrived
//   load_matrices(r, row)        four 8x8 matrices of 16-bit elements: lane l points to row l % 8
//                                of matrix l / 8 in shared memory, and gets elements 2 (l % 4) and
//                                the next of row l / 4 of matrix i in r[i]
//   load_matrices_turned(r, row) the same, of the transposed matrices
//   multiply<T>(sum, a, b)       16x8 sums of tensor cores, float32: mma.sync m16n8k16 for Half and
//                                Bfloat16, m16n8k8 for Tf32, fragments laid out as PTX says
//
// All lanes of a warp take part in what concerns a warp, all threads of a block in sync(), none of
// them behind a branch that others do not take.
#pragma once

#include <cstdint>

#include "../packing.h"
#include "numbers.h"
#include "stream.h"

#if defined(__CUDACC__)
#define POINTSEG_DEVICE __device__ __forceinline__
#else
#define POINTSEG_DEVICE inline
#endif

namespace pointseg::cuda {

constexpr int kWarp = 32;

// A grid of the given size; more parts are the second dimension.
struct Grid {
  int64_t blocks;
  int64_t parts = 1;
};

// Blocks of so many elements.
POINTSEG_HD int64_t num_blocks_for(int64_t size, int64_t elements) {
  return (size + elements - 1) / elements;
}

template <class Body>
constexpr int64_t shared_bytes() {
  if constexpr (requires { typename Body::Shared; }) {
    return sizeof(typename Body::Shared);
  } else {
    return 0;
  }
}

template <class Body>
constexpr int blocks_per_sm() {
  if constexpr (requires { Body::kBlocksPerSm; }) {
    return Body::kBlocksPerSm;
  } else {
    return 1;
  }
}

}  // namespace pointseg::cuda

#if defined(POINTSEG_EMULATED)
#include "emulated_thread.h"
#else
#include "gpu_thread.h"
#endif
