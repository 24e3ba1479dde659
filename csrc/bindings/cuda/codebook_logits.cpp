// codebook_logits and its gradients on CUDA: the schemas are in bindings/cpu/codebook_logits.cpp,
// the contract in pointseg/ops/codebook_logits.py.
#include "../../kernels/cuda/codebook_logits.h"

#include "../../kernels/cuda/tap_sums.h"
#include "../codebook_logits.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor codebook_logits(const Tensor& queries, const Tensor& scale, const Tensor& row_starts,
                       const Tensor& taps, const Tensor& neighbors, const Tensor& weight_rows,
                       const Tensor&, const Tensor& entry_ends) {
  const OnDevice device(queries);
  const RegionLists lists = region_lists(row_starts, taps, neighbors, weight_rows, entry_ends);
  check_logits(queries, scale, lists);
  const Tensor s = widen(scale);
  const ScalarType dtype = queries.scalar_type();
  Tensor logits = empty(queries, {lists.num_rows, lists.num_entries, queries.size(2)}, dtype);
  dispatch_feats(dtype, "codebook_logits", [&]<typename T>(T) {
    const cuda::LogitsArgs<T> args{cptr<T>(queries), cptr<cuda::Sum<T>>(s), lists,
                                   queries.size(1),  queries.size(2),       s.size(0)};
    check_launch(cuda::codebook_logits(args, mptr<T>(logits), device.stream()), "codebook_logits",
                 queries);
  });
  return logits;
}

Tensor codebook_logits_queries_grad(const Tensor& grad_logits, const Tensor& scale, int64_t groups,
                                    const Tensor& row_starts, const Tensor& taps,
                                    const Tensor& neighbors, const Tensor& mirrored_weight_rows,
                                    const Tensor& entry_ends) {
  const OnDevice device(grad_logits);
  const RegionLists lists =
      region_lists(row_starts, taps, neighbors, mirrored_weight_rows, entry_ends);
  check_queries_grad(grad_logits, scale, groups, lists);
  const Tensor s = widen(scale);
  const ScalarType dtype = grad_logits.scalar_type();
  Tensor grad = empty(grad_logits, {lists.num_rows, groups, grad_logits.size(2)}, dtype);
  dispatch_feats(dtype, "codebook_logits_queries_grad", [&]<typename T>(T) {
    const cuda::LogitsArgs<T> args{
        cptr<T>(grad_logits), cptr<cuda::Sum<T>>(s), lists, groups, grad_logits.size(2), s.size(0)};
    check_launch(cuda::codebook_logits_queries_grad(args, mptr<T>(grad), device.stream()),
                 "codebook_logits_queries_grad", grad_logits);
  });
  return grad;
}

Tensor codebook_logits_scale_grad(const Tensor& queries, const Tensor& grad_logits,
                                  int64_t num_weight_rows, const Tensor& row_starts,
                                  const Tensor& taps, const Tensor& neighbors,
                                  const Tensor& weight_rows, const Tensor& entry_ends) {
  const OnDevice device(queries);
  const RegionLists lists = region_lists(row_starts, taps, neighbors, weight_rows, entry_ends);
  check_scale_grad(queries, grad_logits, num_weight_rows, lists);
  const ScalarType dtype = compute_dtype(queries.scalar_type());
  const int64_t heads = queries.size(2);
  Tensor grad = empty(queries, {num_weight_rows, heads}, dtype);
  Tensor buffers =
      empty(queries, {cuda::num_tap_slices(lists.num_rows), num_weight_rows, heads}, dtype);
  dispatch_feats(queries.scalar_type(), "codebook_logits_scale_grad", [&]<typename T>(T) {
    using S = cuda::Sum<T>;
    const cuda::TapSums<T> sums{.lists = lists,
                                .values = cptr<T>(queries),
                                .value_groups = queries.size(1),
                                .grads = cptr<T>(grad_logits),
                                .grad_groups = lists.num_entries,
                                .choice = {},
                                .channels = heads,
                                .num_weight_rows = num_weight_rows};
    check_launch(cuda::add_by_tap(sums, mptr<S>(buffers), mptr<S>(grad), device.stream()),
                 "codebook_logits_scale_grad", queries);
  });
  return grad;
}

POINTSEG_CUDA_OPS(m) {
  m.impl("codebook_logits", TORCH_BOX(&codebook_logits));
  m.impl("codebook_logits_queries_grad", TORCH_BOX(&codebook_logits_queries_grad));
  m.impl("codebook_logits_scale_grad", TORCH_BOX(&codebook_logits_scale_grad));
}

}  // namespace
}  // namespace pointseg
