// codebook_logits and its gradients: see pointseg/ops/codebook_logits.py for the contract.
#include "../../kernels/cpu/codebook_logits.h"

#include "../../kernels/cpu/row_slices.h"
#include "../codebook_logits.h"
#include "common.h"
#include "region_lists.h"

namespace pointseg {
namespace {

Tensor codebook_logits(const Tensor& queries, const Tensor& scale, const Tensor& row_starts,
                       const Tensor& taps, const Tensor& neighbors, const Tensor& weight_rows,
                       const Tensor&, const Tensor& entry_ends) {
  const RegionLists lists =
      host_region_lists(row_starts, taps, neighbors, weight_rows, entry_ends, scale.size(0));
  check_logits(queries, scale, lists);
  const Tensor q = widen(queries), s = widen(scale);
  Tensor logits = empty(q, {lists.num_rows, lists.num_entries, q.size(2)}, q.scalar_type());
  THO_DISPATCH_V2(
      q.scalar_type(), "codebook_logits", AT_WRAP([&]() {
        cpu::logits_kernels<scalar_t>().forward(
            {cptr<scalar_t>(q), cptr<scalar_t>(s), lists, q.size(1), q.size(2), s.size(0)},
            mptr<scalar_t>(logits), torch_threads());
      }),
      ScalarType::Float, ScalarType::Double);
  return store_as(logits, queries.scalar_type());
}

Tensor codebook_logits_queries_grad(const Tensor& grad_logits, const Tensor& scale, int64_t groups,
                                    const Tensor& row_starts, const Tensor& taps,
                                    const Tensor& neighbors, const Tensor& mirrored_weight_rows,
                                    const Tensor& entry_ends) {
  const RegionLists lists = host_region_lists(row_starts, taps, neighbors, mirrored_weight_rows,
                                              entry_ends, scale.size(0));
  check_queries_grad(grad_logits, scale, groups, lists);
  const Tensor g = widen(grad_logits), s = widen(scale);
  Tensor grad = empty(g, {lists.num_rows, groups, g.size(2)}, g.scalar_type());
  THO_DISPATCH_V2(g.scalar_type(), "codebook_logits_queries_grad", AT_WRAP([&]() {
                    cpu::logits_kernels<scalar_t>().queries_grad(
                        {nullptr, cptr<scalar_t>(s), lists, groups, g.size(2), s.size(0)},
                        cptr<scalar_t>(g), mptr<scalar_t>(grad), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(grad, grad_logits.scalar_type());
}

Tensor codebook_logits_scale_grad(const Tensor& queries, const Tensor& grad_logits,
                                  int64_t num_weight_rows, const Tensor& row_starts,
                                  const Tensor& taps, const Tensor& neighbors,
                                  const Tensor& weight_rows, const Tensor& entry_ends) {
  const RegionLists lists =
      host_region_lists(row_starts, taps, neighbors, weight_rows, entry_ends, num_weight_rows);
  check_scale_grad(queries, grad_logits, num_weight_rows, lists);
  const Tensor q = widen(queries), g = widen(grad_logits);
  const int64_t heads = q.size(2);
  Tensor grad = empty(q, {num_weight_rows, heads}, q.scalar_type());
  Tensor buffers =
      empty(q, {cpu::num_slices(lists.num_rows), num_weight_rows, heads}, q.scalar_type());
  THO_DISPATCH_V2(q.scalar_type(), "codebook_logits_scale_grad", AT_WRAP([&]() {
                    cpu::logits_kernels<scalar_t>().scale_grad(
                        {cptr<scalar_t>(q), nullptr, lists, q.size(1), heads, num_weight_rows},
                        cptr<scalar_t>(g), mptr<scalar_t>(grad), mptr<scalar_t>(buffers),
                        torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return grad;
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "codebook_logits(Tensor queries, Tensor scale, Tensor row_starts, Tensor taps, Tensor "
      "neighbors, Tensor weight_rows, Tensor mirrored_weight_rows, Tensor entry_ends) -> Tensor");
  m.def(
      "codebook_logits_queries_grad(Tensor grad_logits, Tensor scale, int groups, Tensor "
      "row_starts, Tensor taps, Tensor neighbors, Tensor mirrored_weight_rows, Tensor "
      "entry_ends) -> Tensor");
  m.def(
      "codebook_logits_scale_grad(Tensor queries, Tensor grad_logits, SymInt num_weight_rows, "
      "Tensor row_starts, Tensor taps, Tensor neighbors, Tensor weight_rows, Tensor entry_ends) "
      "-> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("codebook_logits", TORCH_BOX(&codebook_logits));
  m.impl("codebook_logits_queries_grad", TORCH_BOX(&codebook_logits_queries_grad));
  m.impl("codebook_logits_scale_grad", TORCH_BOX(&codebook_logits_scale_grad));
}

}  // namespace
}  // namespace pointseg
