// Sparse convolution of bfloat16 rows with the processor's dot products of pairs (AVX512_BF16):
// sums are float32, and in a packed panel two input channels lie side by side.
#include <immintrin.h>

#include <bit>

#include "../isa.h"
#include "conv_panels.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

struct DotTile {
  // Two bfloat16 of a row, for every lane.
  template <class S>
  static auto both(const uint16_t* pair) {
    int32_t bits;
    std::memcpy(&bits, pair, sizeof(bits));
    if constexpr (sizeof(typename S::Vec) == 64)
      return std::bit_cast<__m512bh>(_mm512_set1_epi32(bits));
    else
      return std::bit_cast<__m256bh>(_mm256_set1_epi32(bits));
  }

  template <class S>
  static auto weights(const uint16_t* p) {
    if constexpr (sizeof(typename S::Vec) == 64)
      return std::bit_cast<__m512bh>(_mm512_loadu_si512(p));
    else
      return std::bit_cast<__m256bh>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }

  static auto dot(__m512 sum, __m512bh a, __m512bh b) { return _mm512_dpbf16_ps(sum, a, b); }
  static auto dot(__m256 sum, __m256bh a, __m256bh b) { return _mm256_dpbf16_ps(sum, a, b); }

  template <class S, int R, int V>
  static void run(const uint16_t* const* in, float* const* out, int64_t last,
                  const uint16_t* weight, int64_t in_channels) {
    typename S::Vec acc[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] = S::load(out[r] + place<S, V>(v, last));
    for (int64_t ci = 0; ci < in_channels; ci += 2, weight += 2 * V * S::kWidth) {
      decltype(weights<S>(weight)) w[V];
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) w[v] = weights<S>(weight + 2 * v * S::kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[r][v] = dot(acc[r][v], w[v], both<S>(in[r] + ci));
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) S::store(out[r] + place<S, V>(v, last), acc[r][v]);
  }
};

void forward(const ConvArgs<float, uint16_t>& a, const uint16_t* packed, const Parallel& parallel) {
  convolve<DotTile>(a, packed, parallel);
}

}  // namespace

Bf16ConvKernels bf16_conv_kernels() {
  return {packed_size<float>, pack_panels<float, 2, uint16_t>, forward};
}

}  // namespace pointseg::cpu::POINTSEG_ISA
