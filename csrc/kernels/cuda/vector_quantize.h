// Nearest codes of many vectors on CUDA: see pointseg/ops/vector_quantize.py.
//
// T: float, double, Half or Bfloat16; codes are Sum<T>. Instantiated in `vector_quantize.cu`.
#pragma once

#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

template <typename T>
struct QuantizeArgs {
  const T* vectors;     // [rows, heads, dims]
  const Sum<T>* codes;  // [heads, entries, dims]
  int64_t rows;
  int64_t heads;
  int64_t dims;
  int64_t entries;
};

// Writes index [rows, heads]; `half_norms` [heads, entries] is scratch.
template <typename T>
Status vector_quantize(const QuantizeArgs<T>& args, Sum<T>* half_norms, int64_t* index,
                       Stream stream);

}  // namespace pointseg::cuda
