// codebook_attention and its gradients: see pointseg/ops/codebook_attention.py for the contract.
#include "../../kernels/cpu/codebook_attention.h"

#include "../../kernels/cpu/row_slices.h"
#include "../codebook_attention.h"
#include "common.h"
#include "region_lists.h"

namespace pointseg {
namespace {

// The tensors of one call in the type of arithmetic, checked against each other.
struct Attention {
  Tensor values, choice, weight;
  std::vector<int32_t> head_of;
  RegionLists lists;

  Attention(const Tensor& v, const char* name, const Tensor& c, const Tensor& w,
            const RegionLists& region_lists)
      : values(widen(v)), choice(widen(c)), weight(widen(w)), lists(region_lists) {
    check_attention(v, name, c, w, lists);
    const int64_t channels = v.size(1), width = channels / c.size(2);
    for (int64_t c = 0; c < channels; ++c) head_of.push_back(static_cast<int32_t>(c / width));
  }

  template <typename T>
  cpu::AttentionArgs<T> args() const {
    return {cptr<T>(values), cptr<T>(choice), cptr<T>(weight), head_of.data(),
            lists,           values.size(1),  choice.size(2),  weight.size(0)};
  }
};

// The table of the other direction is there for the backward pass alone, which finds it among the
// inputs.
Tensor codebook_attention(const Tensor& values, const Tensor& choice, const Tensor& weight,
                          const Tensor& row_starts, const Tensor& taps, const Tensor& neighbors,
                          const Tensor& weight_rows, const Tensor&, const Tensor& entry_ends) {
  const Attention a(
      values, "values", choice, weight,
      host_region_lists(row_starts, taps, neighbors, weight_rows, entry_ends, weight.size(0)));
  Tensor packed = torch::stable::empty_like(a.weight);
  Tensor out = empty(a.values, {values.size(0), values.size(1)}, a.values.scalar_type());
  THO_DISPATCH_V2(a.values.scalar_type(), "codebook_attention", AT_WRAP([&]() {
                    cpu::attention_kernels<scalar_t>().forward(
                        a.args<scalar_t>(), mptr<scalar_t>(packed), mptr<scalar_t>(out),
                        torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(out, values.scalar_type());
}

Tensor codebook_attention_values_grad(const Tensor& grad_out, const Tensor& choice,
                                      const Tensor& weight, const Tensor& row_starts,
                                      const Tensor& taps, const Tensor& neighbors,
                                      const Tensor& mirrored_weight_rows,
                                      const Tensor& entry_ends) {
  const Attention a(grad_out, "grad_out", choice, weight,
                    host_region_lists(row_starts, taps, neighbors, mirrored_weight_rows, entry_ends,
                                      weight.size(0)));
  Tensor packed = torch::stable::empty_like(a.weight);
  Tensor grad = empty(a.values, {grad_out.size(0), grad_out.size(1)}, a.values.scalar_type());
  THO_DISPATCH_V2(a.values.scalar_type(), "codebook_attention_values_grad", AT_WRAP([&]() {
                    cpu::attention_kernels<scalar_t>().values_grad(
                        a.args<scalar_t>(), cptr<scalar_t>(a.values), mptr<scalar_t>(packed),
                        mptr<scalar_t>(grad), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(grad, grad_out.scalar_type());
}

std::tuple<Tensor, Tensor> codebook_attention_choice_weight_grad(
    const Tensor& values, const Tensor& choice, const Tensor& weight, const Tensor& grad_out,
    const Tensor& row_starts, const Tensor& taps, const Tensor& neighbors,
    const Tensor& weight_rows, const Tensor& entry_ends) {
  const Attention a(
      values, "values", choice, weight,
      host_region_lists(row_starts, taps, neighbors, weight_rows, entry_ends, weight.size(0)));
  check_attention_grad(grad_out, values);
  const ScalarType dtype = a.values.scalar_type();
  const int64_t rows = a.lists.num_rows, entries = a.lists.num_entries, channels = values.size(1);
  const int64_t slices = cpu::num_slices(rows), weight_rows_count = weight.size(0);
  const Tensor grad = widen(grad_out);
  Tensor grad_choice = empty(a.values, {rows, entries, choice.size(2)}, dtype);
  Tensor grad_weight = empty(a.values, {weight_rows_count, channels}, dtype);
  Tensor packed = torch::stable::empty_like(a.weight);
  Tensor buffers = empty(a.values, {slices, weight_rows_count, channels}, dtype);
  Tensor row_buffers = empty(a.values, {slices, cpu::kTileRows, entries, channels}, dtype);
  THO_DISPATCH_V2(dtype, "codebook_attention_choice_weight_grad", AT_WRAP([&]() {
                    cpu::attention_kernels<scalar_t>().choice_weight_grad(
                        a.args<scalar_t>(), cptr<scalar_t>(grad), mptr<scalar_t>(grad_choice),
                        mptr<scalar_t>(grad_weight), mptr<scalar_t>(packed),
                        mptr<scalar_t>(buffers), mptr<scalar_t>(row_buffers), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return {store_as(grad_choice, choice.scalar_type()), grad_weight};
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "codebook_attention(Tensor values, Tensor choice, Tensor weight, Tensor row_starts, Tensor "
      "taps, Tensor neighbors, Tensor weight_rows, Tensor mirrored_weight_rows, Tensor "
      "entry_ends) -> Tensor");
  m.def(
      "codebook_attention_values_grad(Tensor grad_out, Tensor choice, Tensor weight, Tensor "
      "row_starts, Tensor taps, Tensor neighbors, Tensor mirrored_weight_rows, Tensor "
      "entry_ends) -> Tensor");
  m.def(
      "codebook_attention_choice_weight_grad(Tensor values, Tensor choice, Tensor weight, Tensor "
      "grad_out, Tensor row_starts, Tensor taps, Tensor neighbors, Tensor weight_rows, Tensor "
      "entry_ends) -> (Tensor grad_choice, Tensor grad_weight)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("codebook_attention", TORCH_BOX(&codebook_attention));
  m.impl("codebook_attention_values_grad", TORCH_BOX(&codebook_attention_values_grad));
  m.impl("codebook_attention_choice_weight_grad",
         TORCH_BOX(&codebook_attention_choice_weight_grad));
}

}  // namespace
}  // namespace pointseg
