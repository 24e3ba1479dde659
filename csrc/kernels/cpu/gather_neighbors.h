// The rows around every output voxel, side by side: out[o, k] = in[i] for the pairs (i, o) of tap
// k.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// Copies rows of `row_bytes` bytes of any type; out [num_out, taps, row_bytes] is zero on entry.
void gather_neighbors(const char* in, char* out, int64_t row_bytes, const MapPairs& map,
                      const Parallel& parallel);

template <typename T>
struct GatherKernels {
  // grad_in[i] += grad_out[o, k] over the swapped map (its input rows are o, its output rows i).
  void (*gather_grad)(const T* grad_out, T* grad_in, int64_t channels, const MapPairs& swapped,
                      const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const GatherKernels<T>& gather_kernels();

}  // namespace pointseg::cpu
