// Shapes of codebook_logits and its gradients, checked alike on every device.
#pragma once

#include "region_lists.h"
#include "storage.h"

namespace pointseg {

// [rows, `groups`, heads], with one group for every entry or one for all.
inline void check_groups(const Tensor& t, const char* name, const RegionLists& lists) {
  check_feats(t, name, 3);
  STD_TORCH_CHECK(t.size(0) == lists.num_rows && (t.size(1) == lists.num_entries || t.size(1) == 1),
                  name, ": expected [", lists.num_rows, ", ", lists.num_entries,
                  " or 1, heads], got [", t.size(0), ", ", t.size(1), ", ", t.size(2), "]");
}

inline void check_scale(const Tensor& scale, const Tensor& queries) {
  check_parameter(scale, "scale", 2, queries.scalar_type());
  STD_TORCH_CHECK(scale.size(1) == queries.size(2), "scale: expected ", queries.size(2),
                  " heads, got ", scale.size(1));
}

inline void check_logits(const Tensor& queries, const Tensor& scale, const RegionLists& lists) {
  check_groups(queries, "queries", lists);
  check_scale(scale, queries);
}

inline void check_queries_grad(const Tensor& grad_logits, const Tensor& scale, int64_t groups,
                               const RegionLists& lists) {
  check_groups(grad_logits, "grad_logits", lists);
  check_scale(scale, grad_logits);
  STD_TORCH_CHECK(grad_logits.size(1) == lists.num_entries, "grad_logits: expected ",
                  lists.num_entries, " entries, got ", grad_logits.size(1));
  STD_TORCH_CHECK(groups == 1 || groups == lists.num_entries, "groups: expected 1 or ",
                  lists.num_entries, ", got ", groups);
}

inline void check_scale_grad(const Tensor& queries, const Tensor& grad_logits,
                             int64_t num_weight_rows, const RegionLists& lists) {
  check_groups(queries, "queries", lists);
  check_matrix(grad_logits, "grad_logits", 3, queries.scalar_type());
  check_count(num_weight_rows, "num_weight_rows");
  STD_TORCH_CHECK(grad_logits.size(0) == lists.num_rows &&
                      grad_logits.size(1) == lists.num_entries &&
                      grad_logits.size(2) == queries.size(2),
                  "grad_logits: expected [", lists.num_rows, ", ", lists.num_entries, ", ",
                  queries.size(2), "]");
}

}  // namespace pointseg
