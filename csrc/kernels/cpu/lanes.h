// SIMD lanes for the bodies of `codebook.h`, for the instruction set POINTSEG_ISA. Only `*_isa.cpp`
// may include it: the types differ by instruction set, so their code must not be shared.
#pragma once

#include <cstdint>

namespace pointseg::cpu::POINTSEG_ISA {

#if defined(__AVX512F__)
constexpr int kLaneBytes = 64;
#elif defined(__AVX2__)
constexpr int kLaneBytes = 32;
#else
constexpr int kLaneBytes = 16;
#endif

// Four of the widest vectors of 81 taps are 20 KiB of weights, which the first-level cache keeps.
constexpr int kMaxVectors = 4;

// V vectors of kWidth elements.
template <typename T, int kWidth, int V>
struct Lanes {
  static constexpr int kCount = kWidth * V;
  typedef T Vec __attribute__((vector_size(kWidth * sizeof(T))));
  typedef T Loose __attribute__((vector_size(kWidth * sizeof(T)), aligned(alignof(T)), may_alias));

  Vec v[V];

  __attribute__((always_inline)) static Lanes zero() {
    Lanes lanes;
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i) lanes.v[i] = Vec{};
    return lanes;
  }
  __attribute__((always_inline)) static Lanes load(const T* p) {
    Lanes lanes;
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i) lanes.v[i] = *reinterpret_cast<const Loose*>(p + i * kWidth);
    return lanes;
  }
  __attribute__((always_inline)) void store(T* p) const {
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i) *reinterpret_cast<Loose*>(p + i * kWidth) = v[i];
  }
  __attribute__((always_inline)) void add_product(const Lanes& a, const Lanes& b) {
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i) v[i] += a.v[i] * b.v[i];
  }
  __attribute__((always_inline)) void add(const Lanes& a) {
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i) v[i] += a.v[i];
  }
  __attribute__((always_inline)) friend Lanes product(const Lanes& a, const Lanes& b) {
    Lanes lanes;
#pragma GCC unroll 16
    for (int i = 0; i < V; ++i) lanes.v[i] = a.v[i] * b.v[i];
    return lanes;
  }
};

// fn.template operator()<Lanes>(first) over [0, count): up to `max_vectors` full vectors at a time,
// then ever narrower ones. Every element is its own sum, so results do not
// depend on how the range is cut.
template <typename T, int kWidth, class F>
void over_lanes_of_width(int64_t& first, int64_t count, int max_vectors, const F& fn) {
  while (first + kWidth <= count) {
    // As few pieces as there must be, and these of about equal size.
    const int64_t left = (count - first) / kWidth;
    const int64_t pieces = (left + max_vectors - 1) / max_vectors;
    const int64_t vectors = (left + pieces - 1) / pieces;
    switch (vectors) {
#define POINTSEG_LANES(V)                               \
  case V:                                               \
    fn.template operator()<Lanes<T, kWidth, V>>(first); \
    break;
      POINTSEG_LANES(1)
      POINTSEG_LANES(2)
      POINTSEG_LANES(3)
      POINTSEG_LANES(4)
#undef POINTSEG_LANES
      default:
        __builtin_trap();  // max_vectors beyond kMaxVectors
    }
    first += vectors * kWidth;
  }
}

template <typename T, class F>
void over_lanes(int64_t count, const F& fn) {
  constexpr int width = kLaneBytes / sizeof(T);
  int64_t first = 0;
  over_lanes_of_width<T, width>(first, count, kMaxVectors, fn);
  if constexpr (width > 8) over_lanes_of_width<T, 8>(first, count, 1, fn);
  over_lanes_of_width<T, 1>(first, count, 1, fn);
}

// Rows [rows, channels] of weights cut as over_lanes cuts channels: every piece is a contiguous
// [rows, lanes]. In place, the pieces of a wide row would compete for a few sets of the cache.
template <typename T>
void pack_rows(const T* weight, int64_t rows, int64_t channels, T* packed) {
  over_lanes<T>(channels, [&]<class L>(int64_t first) {
    for (int64_t row = 0; row < rows; ++row)
      L::load(weight + row * channels + first).store(packed + first * rows + row * L::kCount);
  });
}

template <typename T>
void unpack_rows(const T* packed, int64_t rows, int64_t channels, T* weight) {
  over_lanes<T>(channels, [&]<class L>(int64_t first) {
    for (int64_t row = 0; row < rows; ++row)
      L::load(packed + first * rows + row * L::kCount).store(weight + row * channels + first);
  });
}

}  // namespace pointseg::cpu::POINTSEG_ISA
