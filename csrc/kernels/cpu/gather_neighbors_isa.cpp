// The arithmetic of `gather_neighbors.h` for the instruction set POINTSEG_ISA.
#include "gather_neighbors.h"
#include "walk_map.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

template <typename T>
void gather_grad(const T* grad_out, T* grad_in, int64_t channels, const MapPairs& swapped,
                 const Parallel& parallel) {
  walk_map(swapped, parallel, [&](int64_t tap, int64_t o, int64_t i) {
    const T* __restrict g = grad_out + (o * swapped.num_taps + tap) * channels;
    T* __restrict x = grad_in + i * channels;
    for (int64_t c = 0; c < channels; ++c) x[c] += g[c];
  });
}

}  // namespace

GatherKernels<float> gather_kernels_f32() { return {gather_grad<float>}; }
GatherKernels<double> gather_kernels_f64() { return {gather_grad<double>}; }

}  // namespace pointseg::cpu::POINTSEG_ISA
