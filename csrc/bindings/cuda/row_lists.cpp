// row_lists on CUDA: the schema is in bindings/cpu/row_lists.cpp, the contract in
// pointseg/ops/row_lists.py. What the arrays say is trusted, num_pairs too.
#include "../../kernels/cuda/row_lists.h"

#include "../map_pairs.h"
#include "../storage.h"
#include "arrays.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor, Tensor> row_lists(const Tensor& in_rows, const Tensor& out_rows,
                                             const Tensor& segments, int64_t num_in,
                                             int64_t num_out, int64_t num_pairs) {
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_out);
  check_count(num_in, "num_in");
  check_count(num_pairs, "num_pairs");
  const OnDevice device(in_rows);
  Tensor row_starts = zeros(in_rows, {num_out + 1}, ScalarType::Long);
  check_launch(cuda::count_row_pairs(map, num_out, mptr<int64_t>(row_starts), device.stream()),
               "row_lists", in_rows);
  exclusive_sum(row_starts, "row_lists", device);
  Tensor taps = empty(in_rows, {num_pairs}, ScalarType::Int);
  Tensor neighbors = empty(in_rows, {num_pairs}, ScalarType::Int);
  check_launch(cuda::fill_row_lists(map, num_out, cptr<int64_t>(row_starts), mptr<int32_t>(taps),
                                    mptr<int32_t>(neighbors), device.stream()),
               "row_lists", in_rows);
  return {row_starts, taps, neighbors};
}

POINTSEG_CUDA_OPS(m) { m.impl("row_lists", TORCH_BOX(&row_lists)); }

}  // namespace
}  // namespace pointseg
