// voxel_keys, sort_keys, voxelize on CUDA: the schemas are in bindings/cpu/voxelize.cpp, the
// contract in pointseg/ops/voxelize.py.
#include "../../kernels/cuda/voxelize.h"

#include <array>

#include "../key_range.h"
#include "key_runs.h"

namespace pointseg {
namespace {

constexpr int kAllBits = 64;

// Points are numbered in 32 bits.
void check_rows(const Tensor& rows, const char* op) {
  STD_TORCH_CHECK(rows.size(0) <= INT32_MAX, op, " on ", describe_shape(rows),
                  ": expected fewer than 2^31 rows");
}

void check_coords(const Tensor& coords) {
  check_matrix(coords, "coords", 2, ScalarType::Int);
  STD_TORCH_CHECK(coords.size(1) == 4, "coords: expected shape [N, 4] (batch, x, y, z), got ",
                  describe_shape(coords));
}

struct Keys {
  Tensor keys;
  // int64 [6]: the first row outside the key range as find_outside says it, and room for the number
  // of voxels, so that one read-back gets both.
  Tensor found;
};

Keys pack(const Tensor& coords, const char* op, const OnDevice& device) {
  const int64_t num_rows = coords.size(0);
  const auto* rows = cptr<int32_t>(coords);
  Keys packed{empty(coords, {num_rows}, ScalarType::Long), empty(coords, {6}, ScalarType::Long)};
  constexpr int64_t kRows = cuda::kRowsOfFirst;
  Tensor first = empty(coords, {(num_rows + kRows - 1) / kRows}, ScalarType::Long);
  check_launch(cuda::voxel_keys(rows, num_rows, mptr<int64_t>(packed.keys), mptr<int64_t>(first),
                                device.stream()),
               op, coords);
  check_launch(cuda::find_outside(rows, num_rows, cptr<int64_t>(first), mptr<int64_t>(packed.found),
                                  device.stream()),
               op, coords);
  return packed;
}

// `found` as find_outside gives it, on the host.
void check_found(const int64_t* found, int64_t num_rows) {
  if (found[0] == num_rows) return;
  const std::array<int32_t, 4> row{static_cast<int32_t>(found[1]), static_cast<int32_t>(found[2]),
                                   static_cast<int32_t>(found[3]), static_cast<int32_t>(found[4])};
  fail_outside_key_range(row.data(), found[0]);
}

Tensor voxel_keys(const Tensor& coords) {
  check_coords(coords);
  const OnDevice device(coords);
  const Keys packed = pack(coords, "voxel_keys", device);
  check_found(read_back(cptr<int64_t>(packed.found), 5, device).data(), coords.size(0));
  return packed.keys;
}

Tensor places_of(const Tensor& keys, const char* op, const OnDevice& device) {
  check_rows(keys, op);
  Tensor places = empty(keys, {keys.size(0)}, ScalarType::Int);
  check_launch(cuda::count_up(mptr<int32_t>(places), keys.size(0), device.stream()), op, keys);
  return places;
}

std::tuple<Tensor, Tensor> sort_keys(const Tensor& keys) {
  check_matrix(keys, "keys", 1, ScalarType::Long);
  const OnDevice device(keys);
  const Tensor places = places_of(keys, "sort_keys", device);
  const SortedPairs sorted = sort_pairs(keys, places, kAllBits, "sort_keys", device);
  return {sorted.keys, torch::stable::to(sorted.values, ScalarType::Long)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> voxelize(const Tensor& coords) {
  check_coords(coords);
  const OnDevice device(coords);
  const int64_t num_points = coords.size(0);
  const Keys packed = pack(coords, "voxelize", device);
  const Tensor places = places_of(packed.keys, "voxelize", device);
  const KeyRuns runs(packed.keys, places, num_points, kAllBits, "voxelize", device);
  runs.fill({.num_runs = mptr<int64_t>(packed.found) + 5}, device);
  const std::vector<int64_t> found = read_back(cptr<int64_t>(packed.found), 6, device);
  check_found(found.data(), num_points);
  const int64_t num_voxels = found[5];
  Tensor voxels = empty(coords, {num_voxels, 4}, ScalarType::Int);
  Tensor voxel_key = empty(coords, {num_voxels}, ScalarType::Long);
  Tensor inverse = empty(coords, {num_points}, ScalarType::Long);
  Tensor order = empty(coords, {num_points}, ScalarType::Long);
  Tensor starts = empty(coords, {num_voxels + 1}, ScalarType::Long);
  runs.fill({.keys = mptr<int64_t>(voxel_key),
             .coords = mptr<int32_t>(voxels),
             .starts = mptr<int64_t>(starts),
             .inverse = mptr<int64_t>(inverse),
             .order = mptr<int64_t>(order)},
            device);
  return {voxels, voxel_key, inverse, order, starts};
}

POINTSEG_CUDA_OPS(m) {
  m.impl("voxel_keys", TORCH_BOX(&voxel_keys));
  m.impl("sort_keys", TORCH_BOX(&sort_keys));
  m.impl("voxelize", TORCH_BOX(&voxelize));
}

}  // namespace
}  // namespace pointseg
