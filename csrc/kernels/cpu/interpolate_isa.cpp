// The arithmetic of `interpolate.h` for the instruction set POINTSEG_ISA.
#include "interpolate.h"

#include <algorithm>

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

constexpr int64_t kGrain = 256;

template <typename T>
void add_scaled(const T* __restrict from, T scale, T* __restrict to, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) to[c] += scale * from[c];
}

template <typename T>
void forward(const T* feats, const int32_t* rows, const T* weights, T* out, int64_t num_queries,
             int64_t corners, int64_t channels, const Parallel& parallel) {
  parallel.ranges(num_queries, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      T* to = out + q * channels;
      std::fill(to, to + channels, T(0));
      for (int64_t e = q * corners; e < (q + 1) * corners; ++e)
        if (rows[e] >= 0) add_scaled(feats + int64_t{rows[e]} * channels, weights[e], to, channels);
    }
  });
}

template <typename T>
void grad(const T* grad_out, const T* weights, const RowGroups& slots, T* grad_feats,
          int64_t corners, int64_t channels, const Parallel& parallel) {
  parallel.ranges(slots.num_bins, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      T* to = grad_feats + v * channels;
      std::fill(to, to + channels, T(0));
      for (int64_t at = slots.starts[v]; at < slots.starts[v + 1]; ++at) {
        const int64_t e = slots.order[at];
        add_scaled(grad_out + e / corners * channels, weights[e], to, channels);
      }
    }
  });
}

template <typename T>
InterpolateKernels<T> table() {
  return {forward<T>, grad<T>};
}

}  // namespace

InterpolateKernels<float> interpolate_kernels_f32() { return table<float>(); }
InterpolateKernels<double> interpolate_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
