// region_map: see pointseg/ops/region_map.py for the contract.
#include "../../kernels/cpu/region_map.h"

#include "map_pairs.h"
#include "storage.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor, Tensor> region_map(const Tensor& in_rows, const Tensor& out_rows,
                                              const Tensor& segments, int64_t num_out) {
  const cpu::MapPairs map = map_pairs(in_rows, out_rows, segments);
  check_count(num_out, "num_out");
  const int64_t num_listed = out_rows.size(0);
  for (int64_t i = 0; i < map.num_blocks * map.num_taps; ++i)
    STD_TORCH_CHECK(0 <= map.segments[2 * i] && map.segments[2 * i] <= map.segments[2 * i + 1] &&
                        map.segments[2 * i + 1] <= num_listed,
                    "segments: group ", i, " is outside the ", num_listed, " pairs");
  // A block owns its output rows: two threads that counted one row would lose pairs.
  std::vector<int64_t> owner(num_out, -1);
  for (int64_t i = 0; i < map.num_blocks * map.num_taps; ++i)
    for (int64_t pair = map.segments[2 * i]; pair < map.segments[2 * i + 1]; ++pair) {
      const int64_t in = map.in_rows[pair], out = map.out_rows[pair], block = i / map.num_taps;
      STD_TORCH_CHECK(out >= 0 && out < num_out, "out_rows: row ", out, " of pair ", pair,
                      " is outside [0, ", num_out, ")");
      STD_TORCH_CHECK(in >= 0 && in < num_out, "in_rows: row ", in, " of pair ", pair,
                      " is outside [0, ", num_out, ")");
      STD_TORCH_CHECK(owner[out] < 0 || owner[out] == block, "out_rows: row ", out,
                      " comes in blocks ", owner[out], " and ", block);
      owner[out] = block;
    }
  Tensor row_starts = zeros(in_rows, {num_out + 1}, ScalarType::Long);
  int64_t* starts = mptr<int64_t>(row_starts);
  cpu::count_rows(map, num_out, starts, torch_threads());
  std::vector<int64_t> cursor(starts, starts + num_out);
  Tensor taps = empty(in_rows, {starts[num_out]}, ScalarType::Int);
  Tensor neighbors = empty(in_rows, {starts[num_out]}, ScalarType::Int);
  cpu::fill_rows(map, cursor.data(), mptr<int32_t>(taps), mptr<int32_t>(neighbors),
                 torch_threads());
  return {row_starts, taps, neighbors};
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "region_map(Tensor in_rows, Tensor out_rows, Tensor segments, SymInt num_out) "
      "-> (Tensor row_starts, Tensor taps, Tensor neighbors)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) { m.impl("region_map", TORCH_BOX(&region_map)); }

}  // namespace
}  // namespace pointseg
