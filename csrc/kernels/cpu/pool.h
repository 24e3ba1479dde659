// Pooling over the voxels that a kernel map finds around an output voxel.
#pragma once

#include <cstdint>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// counts[o] += number of pairs of output row o.
void count_neighbors(const MapPairs& map, int32_t* counts, const Parallel& parallel);

template <typename T>
struct PoolKernels {
  // out[o] += in[i] over the pairs (i, o), in tap order.
  void (*sum)(const T* in, T* out, int64_t channels, const MapPairs& map, const Parallel& parallel);
  // out[o] /= counts[o] where counts[o] > 1.
  void (*divide)(T* out, const int32_t* counts, int64_t num_out, int64_t channels,
                 const Parallel& parallel);
  // The largest of in[i] over the pairs of o, and in winner[o] the row i it came from: the one of
  // the lowest tap among equals. winner is -1 on entry and stays so where a row has no pairs; out
  // is 0 there.
  void (*max)(const T* in, T* out, int32_t* winner, int64_t channels, const MapPairs& map,
              const Parallel& parallel);
  // Gradients, over the swapped map (its input rows are o, its output rows i).
  // grad_in[i] += grad_out[o] / counts[o].
  void (*mean_grad)(const T* grad_out, const int32_t* counts, T* grad_in, int64_t channels,
                    const MapPairs& swapped, const Parallel& parallel);
  // grad_in[i, c] += grad_out[o, c] where winner[o, c] == i.
  void (*max_grad)(const T* grad_out, const int32_t* winner, T* grad_in, int64_t channels,
                   const MapPairs& swapped, const Parallel& parallel);
};

// The kernels of the instruction set that this process uses.
template <typename T>
const PoolKernels<T>& pool_kernels();

}  // namespace pointseg::cpu
