// Nearest codes of many vectors, head by head.
#pragma once

#include <cstdint>

#include "../parallel.h"

namespace pointseg::cpu {

template <typename T>
struct QuantizeKernels {
  // vectors [rows, heads, dims], codes [heads, dims, entries], half_norms [heads, entries] =
  // |code|^2 / 2; writes index [rows, heads]. scores [rows / kQuantizeRows, score_stride] is
  // scratch.
  void (*forward)(const T* vectors, const T* codes, const T* half_norms, int64_t rows,
                  int64_t heads, int64_t dims, int64_t entries, T* scores, int64_t* index,
                  const Parallel& parallel);
};

constexpr int64_t kQuantizeRows = 1024;

// A task writes its scores all the time: those of another are not on the same cache line.
constexpr int64_t score_stride(int64_t entries) { return (entries + 15) / 16 * 16; }

template <typename T>
const QuantizeKernels<T>& quantize_kernels();

}  // namespace pointseg::cpu
