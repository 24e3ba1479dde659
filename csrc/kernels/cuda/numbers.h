// Numbers as they lie in GPU memory, and vectors of them.
//
// Half and Bfloat16 are storage: kernels widen what they load with `widened`, compute in the type
// `Sum`, and round once with `rounded`.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../packing.h"

namespace pointseg::cuda {

template <typename To, typename From>
POINTSEG_HD To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

struct Half {
  uint16_t bits;
};

struct Bfloat16 {
  uint16_t bits;
};

// float32 whose products tensor cores take with 10 bits of mantissa.
struct Tf32 {
  float value;
};

// Numbers of 16 bytes: what a thread copies, loads and stores at once.
template <typename T>
constexpr int kPiece = 16 / static_cast<int>(sizeof(T));

// What tensor cores multiply.
template <typename T>
using Factor = std::conditional_t<std::is_same_v<T, float>, Tf32, T>;

// What sums of products of T are made in.
template <typename T>
using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;

POINTSEG_HD float widened(float value) { return value; }
POINTSEG_HD double widened(double value) { return value; }
POINTSEG_HD float widened(Bfloat16 value) {
  return same_bits<float>(static_cast<uint32_t>(value.bits) << 16);
}
POINTSEG_HD float widened(Half value) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  return static_cast<float>(same_bits<_Float16>(value.bits));
#endif
}

// To nearest, ties to even.
template <typename T, typename S>
POINTSEG_HD T rounded(S value) {
  if constexpr (std::is_same_v<T, Bfloat16>) {
    const uint32_t bits = same_bits<uint32_t>(static_cast<float>(value));
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
    return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
  } else if constexpr (std::is_same_v<T, Half>) {
#if defined(__CUDA_ARCH__)
    Half half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half.bits) : "f"(static_cast<float>(value)));
    return half;
#else
    return {same_bits<uint16_t>(static_cast<_Float16>(static_cast<float>(value)))};
#endif
  } else {
    return static_cast<T>(value);
  }
}

// The 32 bits that tensor cores take for a float32: 10 bits of mantissa, ties away from zero.
POINTSEG_HD uint32_t tf32_bits(float value) {
#if defined(__CUDA_ARCH__)
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  const uint32_t bits = same_bits<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & 0xffffe000u;
#endif
}

// N numbers that are loaded and stored as one; addresses are multiples of their size.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

template <int N, typename T>
POINTSEG_HD Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, typename T>
POINTSEG_HD void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

}  // namespace pointseg::cuda
