// Sparse convolution by one library GEMM per tap, for every dtype and size.
#pragma once

#include <optional>
#include <vector>

#include "common.h"
#include "tap_order.h"

namespace pointseg {

// relu(bias + residual + sum over taps) [num_out, C_out], in the dtype of feats. The arguments have
// been checked; weights may have any strides. `arrays` is in_rows, out_rows, segments, tap_pairs.
// Rows and products of `chunk_bytes` are held at a time.
Tensor conv_by_tap(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::optional<Tensor>& residual, bool relu,
                   const std::vector<Tensor>& arrays, int64_t num_out,
                   int64_t chunk_bytes = kChunkBytes);

}  // namespace pointseg
