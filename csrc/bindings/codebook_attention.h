// Shapes of codebook_attention and its gradients, checked alike on every device.
#pragma once

#include "region_lists.h"
#include "storage.h"

namespace pointseg {

// `values`, or what has their shape and is called `name`.
inline void check_attention(const Tensor& values, const char* name, const Tensor& choice,
                            const Tensor& weight, const RegionLists& lists) {
  check_feats(values, name);
  check_parameter(choice, "choice", 3, values.scalar_type());
  check_parameter(weight, "weight", 2, values.scalar_type());
  const int64_t rows = lists.num_rows, channels = values.size(1), heads = choice.size(2);
  STD_TORCH_CHECK(values.size(0) == rows, name, ": expected ", rows, " rows, got ", values.size(0));
  STD_TORCH_CHECK(choice.size(0) == rows && choice.size(1) == lists.num_entries,
                  "choice: expected [", rows, ", ", lists.num_entries, ", heads], got [",
                  choice.size(0), ", ", choice.size(1), ", ", heads, "]");
  STD_TORCH_CHECK(heads > 0 && channels % heads == 0, "choice: ", heads, " heads do not divide ",
                  channels, " channels");
  STD_TORCH_CHECK(weight.size(1) == channels, "weight: expected ", channels, " channels, got ",
                  weight.size(1));
}

inline void check_attention_grad(const Tensor& grad_out, const Tensor& values) {
  check_matrix(grad_out, "grad_out", 2, values.scalar_type());
  STD_TORCH_CHECK(grad_out.size(0) == values.size(0) && grad_out.size(1) == values.size(1),
                  "grad_out: expected [", values.size(0), ", ", values.size(1), "], got [",
                  grad_out.size(0), ", ", grad_out.size(1), "]");
}

}  // namespace pointseg
