// prepare_geometry: all coarser grids and kernel maps of a network with one read-back.
//
// Whatever has a size that only the device knows is done in two steps. The first finds the voxels
// of every coarser grid, in memory for as many as the finest has, and counts the pairs of every
// map; kernels take the sizes that earlier ones have found from the device. Then all sizes are read
// back at once, and the second step writes arrays of just these sizes. They are those that
// downsample, kernel_map, downsample_map and swap_kernel_map give, one by one.
//
// The caller is pointseg/sparse/prepare.py, the schema is in bindings/cpu/prepare.cpp.
#include <numeric>

#include "../order.h"
#include "key_runs.h"
#include "map_search.h"
#include "swap_map.h"

namespace pointseg {
namespace {

constexpr const char* kOp = "prepare_geometry";

struct CoarserGrid {
  int64_t parent;
  int64_t stride;
};

// [parent, stride] of each: grid 0 is the one there is, grid i + 1 the i-th here.
std::vector<CoarserGrid> coarser_grids(const std::vector<int64_t>& numbers) {
  STD_TORCH_CHECK(numbers.size() % 2 == 0, "grids: expected parent and stride of each, got ",
                  numbers.size(), " numbers");
  std::vector<CoarserGrid> grids;
  for (size_t i = 0; 2 * i < numbers.size(); ++i) {
    const CoarserGrid grid{numbers[2 * i], numbers[2 * i + 1]};
    STD_TORCH_CHECK(grid.parent >= 0 && grid.parent <= static_cast<int64_t>(i) &&
                        grid.stride >= 1 && grid.stride <= kMaxStride,
                    "grids: grid ", i + 1, " of stride ", grid.stride, " has the parent ",
                    grid.parent);
    grids.push_back(grid);
  }
  return grids;
}

struct PlannedMap {
  int64_t in, out;  // grids
  bool swapped;     // wanted in the other direction, too
  Offsets offsets;

  int64_t num_taps() const { return static_cast<int64_t>(offsets.size() / 3); }
};

// [in, out, swapped, number of taps, offsets ...] of each.
std::vector<PlannedMap> planned_maps(const std::vector<int64_t>& numbers, int64_t num_grids) {
  std::vector<PlannedMap> maps;
  for (size_t at = 0; at < numbers.size();) {
    STD_TORCH_CHECK(at + 4 <= numbers.size(), "maps: the last is cut off");
    const int64_t* head = numbers.data() + at;
    const auto first = numbers.begin() + static_cast<int64_t>(at) + 4;
    STD_TORCH_CHECK(head[3] > 0 && head[3] <= (numbers.end() - first) / 3,
                    "maps: the last is cut off");
    STD_TORCH_CHECK(head[0] >= 0 && head[0] < num_grids && head[1] >= 0 && head[1] < num_grids,
                    "maps: expected grids below ", num_grids, ", got ", head[0], " and ", head[1]);
    maps.push_back({head[0], head[1], head[2] != 0, check_offsets({first, first + 3 * head[3]})});
    at += 4 + 3 * static_cast<size_t>(head[3]);
  }
  return maps;
}

struct Voxels {
  Tensor keys;  // of a coarser grid: with room for as many as the finest has
  cuda::DeviceSize size;
  std::optional<KeyRuns> runs;  // of the parent's voxels
};

std::vector<Tensor> prepare_geometry(const Tensor& keys, const std::optional<Tensor>& order,
                                     const std::vector<int64_t>& grids,
                                     const std::vector<int64_t>& maps) {
  check_matrix(keys, "keys", 1, ScalarType::Long);
  check_order(order, "order", keys.size(0));
  const std::vector<CoarserGrid> coarser = coarser_grids(grids);
  const auto num_coarser = static_cast<int64_t>(coarser.size());
  const std::vector<PlannedMap> planned = planned_maps(maps, num_coarser + 1);
  const OnDevice device(keys);
  const int64_t bound = keys.size(0);

  // Voxels of each coarser grid, then pairs of each tap of each map.
  int64_t num_sizes = num_coarser;
  for (const PlannedMap& map : planned) num_sizes += map.num_taps();
  Tensor sizes = zeros(keys, {num_sizes}, ScalarType::Long);
  int64_t* size = mptr<int64_t>(sizes);

  std::vector<Voxels> voxels{{keys, bound, std::nullopt}};
  for (const CoarserGrid& grid : coarser) {
    const Voxels& parent = voxels[grid.parent];
    KeyRuns runs = KeyRuns::of_coarser(parent.keys, parent.size, grid.stride, kOp, device);
    Tensor coarse_keys = empty(keys, {bound}, ScalarType::Long);
    runs.fill({.keys = mptr<int64_t>(coarse_keys), .num_runs = size}, device);
    voxels.push_back({coarse_keys, {bound, size}, runs});
    ++size;
  }

  const std::optional<Tensor> places = group_places(order, kOp, device);
  const auto sorted = [&](int64_t grid) {
    const int32_t* rows = grid == 0 && order ? cptr<int32_t>(*order) : nullptr;
    return cuda::SortedVoxels{cptr<int64_t>(voxels[grid].keys), rows, voxels[grid].size};
  };
  std::vector<PairSearch> searches;
  for (const PlannedMap& map : planned) {
    const int32_t* out_places = map.out == 0 && places ? cptr<int32_t>(*places) : nullptr;
    searches.emplace_back(keys, sorted(map.in), sorted(map.out), out_places, map.offsets, kOp,
                          device);
    searches.back().tap_pairs(size, device);
    size += map.num_taps();
  }

  const std::vector<int64_t> known = read_back(cptr<int64_t>(sizes), num_sizes, device);
  const auto num_voxels = [&](int64_t grid) { return grid == 0 ? bound : known[grid - 1]; };

  std::vector<Tensor> arrays;
  for (int64_t grid = 1; grid <= num_coarser; ++grid) {
    Tensor coords = empty(keys, {num_voxels(grid), 4}, ScalarType::Int);
    Tensor exact_keys = empty(keys, {num_voxels(grid)}, ScalarType::Long);
    Tensor parents = empty(keys, {num_voxels(coarser[grid - 1].parent)}, ScalarType::Int);
    voxels[grid].runs->fill({.keys = mptr<int64_t>(exact_keys),
                             .coords = mptr<int32_t>(coords),
                             .parents = mptr<int32_t>(parents)},
                            device);
    arrays.insert(arrays.end(), {coords, exact_keys, parents});
  }
  auto pairs = known.begin() + num_coarser;
  for (size_t i = 0; i < planned.size(); ++i) {
    const PlannedMap& plan = planned[i];
    Tensor tap_pairs = torch::stable::empty({plan.num_taps()}, ScalarType::Long);
    std::copy(pairs, pairs + plan.num_taps(), mptr<int64_t>(tap_pairs));
    const int64_t num_pairs = std::accumulate(pairs, pairs + plan.num_taps(), int64_t{0});
    pairs += plan.num_taps();
    const MapArrays map = searches[i].fill(num_voxels(plan.out), num_pairs, device);
    arrays.insert(arrays.end(), {tap_pairs, map.in_rows, map.out_rows, map.segments});
    if (!plan.swapped) continue;
    const MapArrays swapped =
        swap_map(map.in_rows, map.out_rows, map.segments, num_voxels(plan.in), kOp, device);
    arrays.insert(arrays.end(), {swapped.in_rows, swapped.out_rows, swapped.segments});
  }
  return arrays;
}

POINTSEG_CUDA_OPS(m) { m.impl("prepare_geometry", TORCH_BOX(&prepare_geometry)); }

}  // namespace
}  // namespace pointseg
