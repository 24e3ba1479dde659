// The row of each sorted voxel, where rows are not sorted themselves.
#pragma once

#include "../kernels/packing.h"
#include "common.h"

namespace pointseg {

inline void check_order(const std::optional<Tensor>& order, const char* name, int64_t num_rows) {
  if (!order) return;
  check_matrix(*order, name, 1, ScalarType::Int);
  STD_TORCH_CHECK(order->size(0) == num_rows, name, ": expected ", num_rows,
                  " rows, one per key, got ", order->size(0));
}

}  // namespace pointseg
