// The arithmetic of `pool.h` for the instruction set POINTSEG_ISA.
#include "pool.h"

#include "../reduce.h"
#include "walk_map.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

constexpr int64_t kRowGrain = 512;

template <typename T>
void sum(const T* in, T* out, int64_t channels, const MapPairs& map, const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t, int64_t i, int64_t o) {
    const T* __restrict x = in + i * channels;
    T* __restrict y = out + o * channels;
    for (int64_t c = 0; c < channels; ++c) y[c] += x[c];
  });
}

template <typename T>
void divide(T* out, const int32_t* counts, int64_t num_out, int64_t channels,
            const Parallel& parallel) {
  parallel.ranges(num_out, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      if (counts[o] <= 1) continue;
      const T count = static_cast<T>(counts[o]);
      T* y = out + o * channels;
      for (int64_t c = 0; c < channels; ++c) y[c] /= count;
    }
  });
}

template <typename T>
void max(const T* in, T* out, int32_t* winner, int64_t channels, const MapPairs& map,
         const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t, int64_t i, int64_t o) {
    const T* __restrict x = in + i * channels;
    T* __restrict y = out + o * channels;
    int32_t* __restrict from = winner + o * channels;
    const int32_t row = static_cast<int32_t>(i);
    for (int64_t c = 0; c < channels; ++c) {
      const bool take = from[c] < 0 || replaces<true>(x[c], y[c]);
      y[c] = take ? x[c] : y[c];
      from[c] = take ? row : from[c];
    }
  });
}

template <typename T>
void mean_grad(const T* grad_out, const int32_t* counts, T* grad_in, int64_t channels,
               const MapPairs& swapped, const Parallel& parallel) {
  walk_map(swapped, parallel, [&](int64_t, int64_t o, int64_t i) {
    const T* __restrict g = grad_out + o * channels;
    T* __restrict x = grad_in + i * channels;
    const T count = static_cast<T>(counts[o]);
    for (int64_t c = 0; c < channels; ++c) x[c] += g[c] / count;
  });
}

template <typename T>
void max_grad(const T* grad_out, const int32_t* winner, T* grad_in, int64_t channels,
              const MapPairs& swapped, const Parallel& parallel) {
  walk_map(swapped, parallel, [&](int64_t, int64_t o, int64_t i) {
    const T* __restrict g = grad_out + o * channels;
    const int32_t* __restrict from = winner + o * channels;
    T* __restrict x = grad_in + i * channels;
    const int32_t row = static_cast<int32_t>(i);
    for (int64_t c = 0; c < channels; ++c) x[c] += from[c] == row ? g[c] : T(0);
  });
}

template <typename T>
PoolKernels<T> table() {
  return {sum<T>, divide<T>, max<T>, mean_grad<T>, max_grad<T>};
}

}  // namespace

PoolKernels<float> pool_kernels_f32() { return table<float>(); }
PoolKernels<double> pool_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
