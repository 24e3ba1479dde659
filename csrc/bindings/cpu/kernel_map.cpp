// kernel_map, swap_kernel_map: see pointseg/ops/kernel_map.py for the contract.
#include "../../kernels/cpu/kernel_map.h"

#include <array>
#include <map>
#include <utility>

#include "../../kernels/packing.h"
#include "../map_pairs.h"
#include "../order.h"
#include "../storage.h"
#include "../tap_columns.h"
#include "common.h"
#include "map_groups.h"

namespace pointseg {
namespace {

// The columns of a kernel, with the tables that they point into.
struct SearchColumns {
  std::vector<std::vector<int32_t>> tables;
  std::vector<cpu::TapColumn> columns;

  explicit SearchColumns(const Offsets& offsets) {
    for (const Column& column : tap_columns(offsets)) {
      std::vector<int32_t> table(column.span() + 1, -1);
      for (const auto& [z, tap] : column.taps) table[z - column.taps.front().first] = tap;
      tables.push_back(std::move(table));
      columns.push_back({column.low_delta(), column.span(), tables.back().data()});
    }
  }
};

// The pairs of `pairs`, whose groups are of any output rows, grouped by block of `num_out` rows.
std::tuple<Tensor, Tensor, Tensor> regroup(const Tensor& like, const MapPairs& pairs,
                                           int64_t num_pairs, int64_t num_out) {
  const int64_t blocks = num_blocks(num_out);
  std::vector<int64_t> counts(blocks * pairs.num_taps);
  cpu::count_regrouped(pairs, blocks, counts.data(), torch_threads());
  Groups groups = place_groups(like, counts, pairs.num_taps);
  Tensor in_rows = empty(like, {num_pairs}, ScalarType::Int);
  Tensor out_rows = empty(like, {num_pairs}, ScalarType::Int);
  cpu::fill_regrouped(pairs, blocks, groups.begins.data(), mptr<int32_t>(in_rows),
                      mptr<int32_t>(out_rows), torch_threads());
  return {in_rows, out_rows, groups.segments};
}

// Taps and their mirrors, if every tap has one.
struct Halves {
  std::vector<int32_t> upper, lower;
  Offsets upper_offsets;
  int32_t centre = -1;
  bool symmetric = true;  // `upper` may still be empty: a lone centre

  explicit Halves(const Offsets& offsets) {
    std::map<std::array<int32_t, 3>, int32_t> taps;
    for (size_t k = 0; 3 * k < offsets.size(); ++k)
      taps[{offsets[3 * k], offsets[3 * k + 1], offsets[3 * k + 2]}] = static_cast<int32_t>(k);
    for (const auto& [offset, tap] : taps) {
      const auto& [x, y, z] = offset;
      const auto mirror = taps.find({-x, -y, -z});
      symmetric = symmetric && mirror != taps.end();
      if (!symmetric) return;
      if (mirror->second == tap) {
        centre = tap;
      } else if (offset > mirror->first) {
        upper.push_back(tap);
        lower.push_back(mirror->second);
        upper_offsets.insert(upper_offsets.end(), offset.begin(), offset.end());
      }
    }
  }
};

std::tuple<Tensor, Tensor, Tensor> searched_map(const Tensor& in_keys, const Tensor& out_keys,
                                                const Offsets& offsets) {
  const SearchColumns columns(offsets);
  const auto num_taps = static_cast<int64_t>(offsets.size() / 3);
  const cpu::MapSearch search{cptr<int64_t>(in_keys),
                              in_keys.size(0),
                              cptr<int64_t>(out_keys),
                              out_keys.size(0),
                              columns.columns.data(),
                              static_cast<int64_t>(columns.columns.size()),
                              num_taps};
  std::vector<int64_t> counts(num_blocks(search.num_out) * num_taps);
  cpu::count_pairs(search, counts.data(), torch_threads());
  Groups groups = place_groups(in_keys, counts, num_taps);
  Tensor in_rows = empty(in_keys, {groups.num_pairs}, ScalarType::Int);
  Tensor out_rows = empty(in_keys, {groups.num_pairs}, ScalarType::Int);
  cpu::fill_pairs(search, groups.begins.data(), mptr<int32_t>(in_rows), mptr<int32_t>(out_rows),
                  torch_threads());
  return {in_rows, out_rows, groups.segments};
}

std::tuple<Tensor, Tensor, Tensor> mirrored_map(const Tensor& keys, const Halves& halves,
                                                int64_t num_taps) {
  const auto num_upper = static_cast<int64_t>(halves.upper.size());
  const auto [half_in, half_out, half_segments] = searched_map(keys, keys, halves.upper_offsets);
  const MapPairs half = map_pairs(half_in, half_out, half_segments);
  const cpu::MirroredTaps taps{
      halves.upper.data(), halves.lower.data(), num_upper, halves.centre, num_taps, keys.size(0)};
  std::vector<int64_t> counts(half.num_blocks * num_taps, 0);
  cpu::count_mirrored(half, taps, counts.data(), torch_threads());
  Groups groups = place_groups(keys, counts, num_taps);
  Tensor in_rows = empty(keys, {groups.num_pairs}, ScalarType::Int);
  Tensor out_rows = empty(keys, {groups.num_pairs}, ScalarType::Int);
  cpu::fill_mirrored(half, taps, groups.begins.data(), mptr<int32_t>(in_rows),
                     mptr<int32_t>(out_rows), torch_threads());
  return {in_rows, out_rows, groups.segments};
}

std::tuple<Tensor, Tensor, Tensor> kernel_map(const Tensor& in_keys,
                                              const std::optional<Tensor>& in_order,
                                              const Tensor& out_keys,
                                              const std::optional<Tensor>& out_order,
                                              const std::vector<int64_t>& offsets) {
  check_matrix(in_keys, "in_keys", 1, ScalarType::Long);
  check_matrix(out_keys, "out_keys", 1, ScalarType::Long);
  const Offsets taps = check_offsets(offsets);
  check_order(in_order, "in_order", in_keys.size(0));
  check_order(out_order, "out_order", out_keys.size(0));
  const bool same_grid =
      in_keys.const_data_ptr() == out_keys.const_data_ptr() && in_keys.size(0) == out_keys.size(0);
  const Halves halves(taps);
  const auto [in_rows, out_rows, segments] =
      same_grid && halves.symmetric && !halves.upper.empty()
          ? mirrored_map(in_keys, halves, static_cast<int64_t>(taps.size() / 3))
          : searched_map(in_keys, out_keys, taps);
  to_rows(in_order, in_rows);
  to_rows(out_order, out_rows);
  if (!out_order) return {in_rows, out_rows, segments};
  return regroup(in_keys, map_pairs(in_rows, out_rows, segments), in_rows.size(0),
                 out_keys.size(0));
}

std::tuple<Tensor, Tensor, Tensor> swap_kernel_map(const Tensor& in_rows, const Tensor& out_rows,
                                                   const Tensor& segments, int64_t num_in) {
  const MapPairs map = map_pairs(in_rows, out_rows, segments);
  check_count(num_in, "num_in");
  for (int64_t pair = 0; pair < in_rows.size(0); ++pair)
    STD_TORCH_CHECK(map.in_rows[pair] >= 0 && map.in_rows[pair] < num_in, "in_rows: row ",
                    map.in_rows[pair], " of pair ", pair, " is outside [0, ", num_in, ")");
  return regroup(in_rows, {map.out_rows, map.in_rows, map.segments, map.num_blocks, map.num_taps},
                 in_rows.size(0), num_in);
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "kernel_map(Tensor in_keys, Tensor? in_order, Tensor out_keys, Tensor? out_order, int[] "
      "offsets) "
      "-> (Tensor in_rows, Tensor out_rows, Tensor segments)");
  m.def(
      "swap_kernel_map(Tensor in_rows, Tensor out_rows, Tensor segments, SymInt num_in) "
      "-> (Tensor in_rows, Tensor out_rows, Tensor segments)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("kernel_map", TORCH_BOX(&kernel_map));
  m.impl("swap_kernel_map", TORCH_BOX(&swap_kernel_map));
}

}  // namespace
}  // namespace pointseg
