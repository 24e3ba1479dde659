// vector_quantize on CUDA: the schema is in bindings/cpu/vector_quantize.cpp, the contract in
// pointseg/ops/vector_quantize.py.
#include "../vector_quantize.h"

#include "../../kernels/cuda/vector_quantize.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor vector_quantize(const Tensor& vectors, const Tensor& codes) {
  const OnDevice device(vectors);
  check_quantize(vectors, codes);
  const int64_t rows = vectors.size(0), heads = vectors.size(1), entries = codes.size(1);
  const Tensor e = widen(codes);
  Tensor half_norms = empty(e, {heads, entries}, e.scalar_type());
  Tensor index = empty(vectors, {rows, heads}, ScalarType::Long);
  dispatch_feats(vectors.scalar_type(), "vector_quantize", [&]<typename T>(T) {
    using S = cuda::Sum<T>;
    const cuda::QuantizeArgs<T> args{cptr<T>(vectors), cptr<S>(e), rows, heads,
                                     vectors.size(2),  entries};
    check_launch(
        cuda::vector_quantize(args, mptr<S>(half_norms), mptr<int64_t>(index), device.stream()),
        "vector_quantize", vectors);
  });
  return index;
}

POINTSEG_CUDA_OPS(m) { m.impl("vector_quantize", TORCH_BOX(&vector_quantize)); }

}  // namespace
}  // namespace pointseg
