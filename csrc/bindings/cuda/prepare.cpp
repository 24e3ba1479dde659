// prepare_geometry: all coarser grids and kernel maps of a network with one read-back.
//
// Whatever has a size that only the device knows is done in two steps. The first finds the voxels
// of every coarser grid, in memory for as many as the finest has, and counts the pairs of every
// map; kernels take the sizes that earlier ones have found from the device. Then all sizes are read
// back at once, and the second step writes arrays of just these sizes. They are those that
// downsample, kernel_map, downsample_map and swap_kernel_map give, one by one.
//
// The caller is pointseg/sparse/prepare.py, the schema is in bindings/cpu/prepare.cpp.
#include <algorithm>
#include <numeric>
#include <utility>

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

class Preparation {
 public:
  Preparation(const Tensor& keys, const std::optional<Tensor>& order,
              std::vector<CoarserGrid> grids, std::vector<PlannedMap> maps, const OnDevice& device)
      : keys_(keys),
        order_(order),
        grids_(std::move(grids)),
        maps_(std::move(maps)),
        device_(device),
        num_sizes_(static_cast<int64_t>(grids_.size())) {
    for (const PlannedMap& map : maps_) num_sizes_ += map.num_taps();
    sizes_ = zeros(keys_, {num_sizes_}, ScalarType::Long);
  }

  // The first step.
  void find_sizes() {
    int64_t* size = mptr<int64_t>(sizes_);
    voxels_.push_back({keys_, num_finest(), std::nullopt});
    for (const CoarserGrid& grid : grids_) find_voxels(grid, size++);
    places_ = group_places(order_, kOp, device_);
    for (const PlannedMap& map : maps_) {
      const int32_t* places = map.out == 0 && places_ ? cptr<int32_t>(*places_) : nullptr;
      searches_.emplace_back(keys_, sorted(map.in), sorted(map.out), places, map.offsets, kOp,
                             device_);
      searches_.back().tap_pairs(size, device_);
      size += map.num_taps();
    }
  }

  // The second step. Of every coarser grid coords, keys, parents; of every map tap_pairs on the
  // host, in_rows, out_rows, segments, and the last three swapped where they are wanted.
  std::vector<Tensor> write() {
    known_ = read_back(cptr<int64_t>(sizes_), num_sizes_, device_);
    for (size_t grid = 1; grid < voxels_.size(); ++grid) write_grid(static_cast<int64_t>(grid));
    const int64_t* pairs = known_.data() + grids_.size();
    for (size_t map = 0; map < maps_.size(); ++map) {
      write_map(maps_[map], searches_[map], pairs);
      pairs += maps_[map].num_taps();
    }
    return std::move(arrays_);
  }

 private:
  int64_t num_finest() const { return keys_.size(0); }
  int64_t num_voxels(int64_t grid) const { return grid == 0 ? num_finest() : known_[grid - 1]; }

  void find_voxels(const CoarserGrid& grid, int64_t* size) {
    const Voxels& parent = voxels_[grid.parent];
    KeyRuns runs = KeyRuns::of_coarser(parent.keys, parent.size, grid.stride, kOp, device_);
    Tensor keys = empty(keys_, {num_finest()}, ScalarType::Long);
    runs.fill({.keys = mptr<int64_t>(keys), .num_runs = size}, device_);
    voxels_.push_back({keys, {num_finest(), size}, runs});
  }

  cuda::SortedVoxels sorted(int64_t grid) const {
    const int32_t* rows = grid == 0 && order_ ? cptr<int32_t>(*order_) : nullptr;
    return {cptr<int64_t>(voxels_[grid].keys), rows, voxels_[grid].size};
  }

  void write_grid(int64_t grid) {
    const int64_t parent = grids_[grid - 1].parent;
    Tensor coords = empty(keys_, {num_voxels(grid), 4}, ScalarType::Int);
    Tensor keys = empty(keys_, {num_voxels(grid)}, ScalarType::Long);
    Tensor parents = empty(keys_, {num_voxels(parent)}, ScalarType::Int);
    voxels_[grid].runs->fill({.keys = mptr<int64_t>(keys),
                              .coords = mptr<int32_t>(coords),
                              .parents = mptr<int32_t>(parents)},
                             device_);
    arrays_.insert(arrays_.end(), {coords, keys, parents});
  }

  void write_map(const PlannedMap& plan, const PairSearch& search, const int64_t* pairs) {
    Tensor tap_pairs = torch::stable::empty({plan.num_taps()}, ScalarType::Long);
    std::copy(pairs, pairs + plan.num_taps(), mptr<int64_t>(tap_pairs));
    const int64_t num_pairs = std::accumulate(pairs, pairs + plan.num_taps(), int64_t{0});
    const MapArrays map = search.fill(num_voxels(plan.out), num_pairs, device_);
    arrays_.insert(arrays_.end(), {tap_pairs, map.in_rows, map.out_rows, map.segments});
    if (!plan.swapped) return;
    const MapArrays swapped =
        swap_map(map.in_rows, map.out_rows, map.segments, num_voxels(plan.in), kOp, device_);
    arrays_.insert(arrays_.end(), {swapped.in_rows, swapped.out_rows, swapped.segments});
  }

  Tensor keys_;
  std::optional<Tensor> order_;
  std::vector<CoarserGrid> grids_;
  std::vector<PlannedMap> maps_;
  const OnDevice& device_;

  int64_t num_sizes_;
  Tensor sizes_;  // on the device: voxels of each coarser grid, then pairs of each tap of each map
  std::vector<Voxels> voxels_;
  std::optional<Tensor> places_;
  std::vector<PairSearch> searches_;

  std::vector<int64_t> known_;  // the sizes, on the host
  std::vector<Tensor> arrays_;
};

std::vector<Tensor> prepare_geometry(const Tensor& keys, const std::optional<Tensor>& order,
                                     const std::vector<int64_t>& grids,
                                     const std::vector<int64_t>& maps) {
  check_matrix(keys, "keys", 1, ScalarType::Long);
  check_order(order, "order", keys.size(0));
  std::vector<CoarserGrid> coarser = coarser_grids(grids);
  std::vector<PlannedMap> planned = planned_maps(maps, static_cast<int64_t>(coarser.size()) + 1);
  const OnDevice device(keys);
  Preparation preparation(keys, order, std::move(coarser), std::move(planned), device);
  preparation.find_sizes();
  return preparation.write();
}

POINTSEG_CUDA_OPS(m) { m.impl("prepare_geometry", TORCH_BOX(&prepare_geometry)); }

}  // namespace
}  // namespace pointseg
