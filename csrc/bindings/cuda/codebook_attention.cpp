// codebook_attention and its gradients on CUDA: the schemas are in
// bindings/cpu/codebook_attention.cpp, the contract in pointseg/ops/codebook_attention.py.
#include "../../kernels/cuda/codebook_attention.h"

#include "../../kernels/cuda/tap_sums.h"
#include "../codebook_attention.h"
#include "common.h"

namespace pointseg {
namespace {

template <typename T>
cuda::Choices<T> choices(const Tensor& choice) {
  return {choice.const_data_ptr(), !is_storage_only(choice.scalar_type()), choice.size(1),
          choice.size(2)};
}

// `rows` are the values, or the gradients that take their place.
template <typename T>
cuda::AttentionArgs<T> attention_args(const Tensor& rows, const Tensor& choice,
                                      const Tensor& weight, const RegionLists& lists) {
  return {cptr<T>(rows), choices<T>(choice), cptr<cuda::Sum<T>>(weight),
          lists,         rows.size(1),       weight.size(0)};
}

Tensor codebook_attention(const Tensor& values, const Tensor& choice, const Tensor& weight,
                          const Tensor& row_starts, const Tensor& taps, const Tensor& neighbors,
                          const Tensor& weight_rows, const Tensor&, const Tensor& entry_ends) {
  const OnDevice device(values);
  const RegionLists lists = region_lists(row_starts, taps, neighbors, weight_rows, entry_ends);
  check_attention(values, "values", choice, weight, lists);
  const Tensor w = widen(weight);
  Tensor out = empty(values, {values.size(0), values.size(1)}, values.scalar_type());
  dispatch_feats(values.scalar_type(), "codebook_attention", [&]<typename T>(T) {
    check_launch(cuda::codebook_attention(attention_args<T>(values, choice, w, lists), mptr<T>(out),
                                          device.stream()),
                 "codebook_attention", values);
  });
  return out;
}

Tensor codebook_attention_values_grad(const Tensor& grad_out, const Tensor& choice,
                                      const Tensor& weight, const Tensor& row_starts,
                                      const Tensor& taps, const Tensor& neighbors,
                                      const Tensor& mirrored_weight_rows,
                                      const Tensor& entry_ends) {
  const OnDevice device(grad_out);
  const RegionLists lists =
      region_lists(row_starts, taps, neighbors, mirrored_weight_rows, entry_ends);
  check_attention(grad_out, "grad_out", choice, weight, lists);
  const Tensor w = widen(weight);
  Tensor grad = empty(grad_out, {grad_out.size(0), grad_out.size(1)}, grad_out.scalar_type());
  dispatch_feats(grad_out.scalar_type(), "codebook_attention_values_grad", [&]<typename T>(T) {
    check_launch(cuda::codebook_attention_values_grad(attention_args<T>(grad_out, choice, w, lists),
                                                      mptr<T>(grad), device.stream()),
                 "codebook_attention_values_grad", grad_out);
  });
  return grad;
}

std::tuple<Tensor, Tensor> codebook_attention_choice_weight_grad(
    const Tensor& values, const Tensor& choice, const Tensor& weight, const Tensor& grad_out,
    const Tensor& row_starts, const Tensor& taps, const Tensor& neighbors,
    const Tensor& weight_rows, const Tensor& entry_ends) {
  const OnDevice device(values);
  const RegionLists lists = region_lists(row_starts, taps, neighbors, weight_rows, entry_ends);
  check_attention(values, "values", choice, weight, lists);
  check_attention_grad(grad_out, values);
  const Tensor w = widen(weight);
  const int64_t taps_of_all = weight.size(0), channels = values.size(1);
  Tensor grad_choice =
      empty(choice, {choice.size(0), choice.size(1), choice.size(2)}, choice.scalar_type());
  Tensor grad_weight = empty(values, {taps_of_all, channels}, w.scalar_type());
  Tensor buffers =
      empty(values, {cuda::num_tap_slices(lists.num_rows), taps_of_all, channels}, w.scalar_type());
  const char* op = "codebook_attention_choice_weight_grad";
  dispatch_feats(values.scalar_type(), op, [&]<typename T>(T) {
    using S = cuda::Sum<T>;
    const auto args = attention_args<T>(values, choice, w, lists);
    check_launch(cuda::codebook_attention_choice_grad(
                     args, cptr<T>(grad_out), grad_choice.mutable_data_ptr(), device.stream()),
                 op, values);
    const cuda::TapSums<T> sums{.lists = lists,
                                .values = args.rows,
                                .value_groups = 1,
                                .grads = cptr<T>(grad_out),
                                .grad_groups = 1,
                                .choice = args.choice,
                                .channels = channels,
                                .num_weight_rows = taps_of_all};
    check_launch(cuda::add_by_tap(sums, mptr<S>(buffers), mptr<S>(grad_weight), device.stream()),
                 op, values);
  });
  return {grad_choice, grad_weight};
}

POINTSEG_CUDA_OPS(m) {
  m.impl("codebook_attention", TORCH_BOX(&codebook_attention));
  m.impl("codebook_attention_values_grad", TORCH_BOX(&codebook_attention_values_grad));
  m.impl("codebook_attention_choice_weight_grad",
         TORCH_BOX(&codebook_attention_choice_weight_grad));
}

}  // namespace
}  // namespace pointseg
