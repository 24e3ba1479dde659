// One instruction set's share of `fma_peak.h`.
#include "../isa.h"
#include "fma_peak.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kChains = 24;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kChains = 12;
#else
constexpr int kVectorBytes = 16, kChains = 12;
#endif

template <typename T>
T one_thread(int64_t iterations) {
  typedef T Vec __attribute__((vector_size(kVectorBytes)));
  const Vec factor = Vec{} + T(0.5), term = Vec{} + T(0.25);
  Vec chain[kChains];  // independent, so that none waits for another
  for (int c = 0; c < kChains; ++c) chain[c] = Vec{} + T(c);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 32
    for (int c = 0; c < kChains; ++c) chain[c] = chain[c] * factor + term;
  }
  Vec sum{};
  for (int c = 0; c < kChains; ++c) sum += chain[c];
  return sum[0];
}

template <typename T>
int64_t run(int64_t iterations, T* sink, const Parallel& parallel) {
  const int64_t threads = parallel.num_threads();
  parallel.tasks(threads, [&](int64_t thread) { sink[thread] = one_thread<T>(iterations); });
  return threads * iterations * kChains * (kVectorBytes / static_cast<int64_t>(sizeof(T))) * 2;
}

}  // namespace

PeakKernels<float> peak_kernels_f32() { return {run<float>}; }
PeakKernels<double> peak_kernels_f64() { return {run<double>}; }

}  // namespace pointseg::cpu::POINTSEG_ISA
