// vector_quantize: see pointseg/ops/vector_quantize.py for the contract.
#include "../../kernels/cpu/vector_quantize.h"

#include "../vector_quantize.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor vector_quantize(const Tensor& vectors, const Tensor& codes) {
  check_quantize(vectors, codes);
  const int64_t rows = vectors.size(0), heads = vectors.size(1), dims = vectors.size(2);
  const int64_t entries = codes.size(1);
  const Tensor z = widen(vectors), e = widen(codes);
  const int64_t tasks = (rows + cpu::kQuantizeRows - 1) / cpu::kQuantizeRows;
  Tensor turned = empty(z, {heads, dims, entries}, z.scalar_type());
  Tensor half_norms = zeros(z, {heads, entries}, z.scalar_type());
  Tensor scores = empty(z, {tasks, cpu::score_stride(entries)}, z.scalar_type());
  Tensor index = empty(z, {rows, heads}, ScalarType::Long);
  THO_DISPATCH_V2(z.scalar_type(), "vector_quantize", AT_WRAP([&]() {
                    const scalar_t* from = cptr<scalar_t>(e);
                    scalar_t* to = mptr<scalar_t>(turned);
                    scalar_t* norm = mptr<scalar_t>(half_norms);
                    for (int64_t i = 0; i < heads * entries; ++i)
                      for (int64_t m = 0; m < dims; ++m) {
                        const scalar_t value = from[i * dims + m];
                        norm[i] += value * value / 2;
                        to[(i / entries * dims + m) * entries + i % entries] = value;
                      }
                    cpu::quantize_kernels<scalar_t>().forward(
                        cptr<scalar_t>(z), to, norm, rows, heads, dims, entries,
                        mptr<scalar_t>(scores), mptr<int64_t>(index), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return index;
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def("vector_quantize(Tensor vectors, Tensor codes) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("vector_quantize", TORCH_BOX(&vector_quantize));
}

}  // namespace
}  // namespace pointseg
