// A kernel map turned around.
#pragma once

#include "../../kernels/cuda/swap_map.h"
#include "../map_pairs.h"
#include "../storage.h"
#include "map_search.h"

namespace pointseg {

inline MapArrays swap_map(const Tensor& in_rows, const Tensor& out_rows, const Tensor& segments,
                          int64_t num_in, const char* op, const OnDevice& device) {
  const MapPairs map = map_pairs(in_rows, out_rows, segments);
  check_count(num_in, "num_in");
  const int64_t num_pairs = in_rows.size(0), blocks = num_blocks(num_in);
  const int64_t num_groups = blocks * map.num_taps;
  STD_TORCH_CHECK(num_pairs <= INT32_MAX, op, " on ", describe_shape(in_rows),
                  ": expected fewer than 2^31 pairs");
  Tensor group = empty(in_rows, {num_pairs}, ScalarType::Long);
  Tensor pairs = empty(in_rows, {num_pairs}, ScalarType::Int);
  check_launch(cuda::swapped_groups(map, num_pairs, num_in, mptr<int64_t>(group),
                                    mptr<int32_t>(pairs), device.stream()),
               op, in_rows);
  const SortedPairs sorted = sort_pairs(group, pairs, bits_below(num_groups + 1), op, device);
  MapArrays swapped{empty(in_rows, {num_pairs}, ScalarType::Int),
                    empty(in_rows, {num_pairs}, ScalarType::Int),
                    empty(segments, {blocks, map.num_taps, 2}, ScalarType::Long)};
  check_launch(cuda::fill_swapped(map, cptr<int64_t>(sorted.keys), cptr<int32_t>(sorted.values),
                                  num_pairs, num_groups, mptr<int32_t>(swapped.in_rows),
                                  mptr<int32_t>(swapped.out_rows), mptr<int64_t>(swapped.segments),
                                  device.stream()),
               op, in_rows);
  return swapped;
}

}  // namespace pointseg
