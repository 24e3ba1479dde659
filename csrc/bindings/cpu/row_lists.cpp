// row_lists: see pointseg/ops/row_lists.py for the contract.
#include "../../kernels/cpu/row_lists.h"

#include "../map_pairs.h"
#include "../storage.h"
#include "common.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor, Tensor> row_lists(const Tensor& in_rows, const Tensor& out_rows,
                                             const Tensor& segments, int64_t num_in,
                                             int64_t num_out, int64_t num_pairs) {
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_out);
  check_count(num_in, "num_in");
  const int64_t num_listed = out_rows.size(0);
  for (int64_t i = 0; i < map.num_blocks * map.num_taps; ++i)
    STD_TORCH_CHECK(0 <= map.segments[2 * i] && map.segments[2 * i] <= map.segments[2 * i + 1] &&
                        map.segments[2 * i + 1] <= num_listed,
                    "segments: group ", i, " is outside the ", num_listed, " pairs");
  Tensor row_starts = empty(in_rows, {num_out + 1}, ScalarType::Long);
  int64_t* starts = mptr<int64_t>(row_starts);
  const int64_t bad = cpu::count_rows(map, num_in, num_out, starts, torch_threads());
  STD_TORCH_CHECK(bad < 0, "pair ", bad, " of a map from ", num_in, " to ", num_out,
                  " rows: in_rows ", map.in_rows[bad], " or out_rows ", map.out_rows[bad],
                  " is outside, or the pair is not in the block of its output row");
  STD_TORCH_CHECK(starts[num_out] == num_pairs, "num_pairs: expected the ", starts[num_out],
                  " pairs of the groups, got ", num_pairs);
  Tensor taps = empty(in_rows, {num_pairs}, ScalarType::Int);
  Tensor neighbors = empty(in_rows, {num_pairs}, ScalarType::Int);
  cpu::fill_rows(map, num_out, starts, mptr<int32_t>(taps), mptr<int32_t>(neighbors),
                 torch_threads());
  return {row_starts, taps, neighbors};
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "row_lists(Tensor in_rows, Tensor out_rows, Tensor segments, SymInt num_in, SymInt num_out, "
      "SymInt num_pairs) -> (Tensor row_starts, Tensor taps, Tensor neighbors)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) { m.impl("row_lists", TORCH_BOX(&row_lists)); }

}  // namespace
}  // namespace pointseg
