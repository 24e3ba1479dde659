// The most multiply-adds this processor does: what the arithmetic of a kernel is held against.
#pragma once

#include <cstdint>

#include "../parallel.h"

namespace pointseg::cpu {

template <typename T>
struct PeakKernels {
  // Multiply-adds in registers alone, on every thread; returns the floating-point operations done.
  // `sink` receives a result, so that none of it can be left out.
  int64_t (*run)(int64_t iterations, T* sink, const Parallel& parallel);
};

template <typename T>
const PeakKernels<T>& peak_kernels();

}  // namespace pointseg::cpu
