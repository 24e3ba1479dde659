// What the bindings of interpolate check on every device.
#pragma once

#include <optional>

#include "../kernels/interpolate.h"
#include "storage.h"

namespace pointseg {

inline VoxelSearch voxel_search(const Tensor& query, const Tensor& sorted_keys,
                                const std::optional<Tensor>& order, int64_t stride,
                                int64_t corners) {
  check_feats(query, "query");
  STD_TORCH_CHECK(query.size(1) == 4, "query: expected shape [Q, 4] (batch, x, y, z), got [",
                  query.size(0), ", ", query.size(1), "]");
  check_matrix(sorted_keys, "sorted_keys", 1, ScalarType::Long);
  if (order) check_matrix(*order, "order", 1, ScalarType::Int);
  STD_TORCH_CHECK(!order || order->size(0) == sorted_keys.size(0),
                  "order: expected one row for every key, got ", order->size(0));
  STD_TORCH_CHECK(stride >= 1 && stride <= kMaxStride, "stride: expected 1 to ", kMaxStride,
                  ", got ", stride);
  STD_TORCH_CHECK(corners == 1 || corners == 8, "corners: expected 1 or 8, got ", corners);
  return {cptr<int64_t>(sorted_keys), order ? cptr<int32_t>(*order) : nullptr, sorted_keys.size(0),
          stride};
}

// feats: the dtype of the features that are read.
inline void check_corners(const Tensor& rows, const Tensor& weights, ScalarType feats) {
  check_matrix(rows, "rows", 2, ScalarType::Int);
  check_matrix(weights, "weights", 2, compute_dtype(feats));
  STD_TORCH_CHECK(weights.size(0) == rows.size(0) && weights.size(1) == rows.size(1),
                  "weights: expected the shape of rows");
}

inline void check_interpolate_backward(const Tensor& grad_out, const Tensor& rows,
                                       const Tensor& weights, int64_t num_in) {
  check_feats(grad_out, "grad_out");
  check_count(num_in, "num_in");
  check_corners(rows, weights, grad_out.scalar_type());
  STD_TORCH_CHECK(rows.size(0) == grad_out.size(0), "rows: expected ", grad_out.size(0),
                  " queries, got ", rows.size(0));
}

}  // namespace pointseg
