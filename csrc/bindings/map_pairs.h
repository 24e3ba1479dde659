// A kernel map as the kernels take it.
#pragma once

#include "../kernels/map_pairs.h"
#include "common.h"

namespace pointseg {

// Checks the arrays against each other. What they say is not checked, pair by pair: `kernel_map`
// has made them.
inline MapPairs map_pairs(const Tensor& in_rows, const Tensor& out_rows, const Tensor& segments) {
  check_matrix(in_rows, "in_rows", 1, ScalarType::Int);
  check_matrix(out_rows, "out_rows", 1, ScalarType::Int);
  check_matrix(segments, "segments", 3, ScalarType::Long);
  STD_TORCH_CHECK(in_rows.size(0) == out_rows.size(0),
                  "in_rows and out_rows: expected equal lengths, got ", in_rows.size(0), " and ",
                  out_rows.size(0));
  STD_TORCH_CHECK(segments.size(2) == 2, "segments: expected shape [blocks, taps, 2]");
  return {cptr<int32_t>(in_rows), cptr<int32_t>(out_rows), cptr<int64_t>(segments),
          segments.size(0), segments.size(1)};
}

// The same for an op that writes `num_out` rows, block by block.
inline MapPairs map_pairs(const Tensor& in_rows, const Tensor& out_rows, const Tensor& segments,
                          int64_t num_out) {
  STD_TORCH_CHECK(num_out >= 0, "num_out: expected a count, got ", num_out);
  const MapPairs map = map_pairs(in_rows, out_rows, segments);
  STD_TORCH_CHECK(map.num_blocks == num_blocks(num_out), "segments: expected ", num_blocks(num_out),
                  " blocks for ", num_out, " output rows, got ", map.num_blocks);
  return map;
}

}  // namespace pointseg
