// The arithmetic of `vector_quantize.h` for the instruction set POINTSEG_ISA.
#include "vector_quantize.h"

#include <algorithm>

#include "../nearest_code.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

template <typename T>
void forward(const T* vectors, const T* codes, const T* half_norms, int64_t rows, int64_t heads,
             int64_t dims, int64_t entries, T* scores, int64_t* index, const Parallel& parallel) {
  const int64_t tasks = (rows + kQuantizeRows - 1) / kQuantizeRows;
  parallel.tasks(tasks, [&](int64_t task) {
    T* own = scores + task * score_stride(entries);
    const int64_t end = std::min(rows, (task + 1) * kQuantizeRows);
    for (int64_t row = task * kQuantizeRows; row < end; ++row)
      for (int64_t h = 0; h < heads; ++h) {
        std::copy(half_norms + h * entries, half_norms + (h + 1) * entries, own);
        index[row * heads + h] = nearest_code(vectors + (row * heads + h) * dims,
                                              codes + h * dims * entries, dims, entries, own);
      }
  });
}

template <typename T>
QuantizeKernels<T> table() {
  return {forward<T>};
}

}  // namespace

QuantizeKernels<float> quantize_kernels_f32() { return table<float>(); }
QuantizeKernels<double> quantize_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
