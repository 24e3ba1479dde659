// voxel_keys, sort_keys, voxelize: see pointseg/ops/voxelize.py for the contract.
#include "../../kernels/cpu/voxelize.h"

#include "../key_range.h"
#include "common.h"

namespace pointseg {
namespace {

void check_coords(const Tensor& coords) {
  check_matrix(coords, "coords", 2, ScalarType::Int);
  STD_TORCH_CHECK(coords.size(1) == 4, "coords: expected shape [N, 4] (batch, x, y, z), got [",
                  coords.size(0), ", ", coords.size(1), "]");
}

Tensor voxel_keys(const Tensor& coords) {
  check_coords(coords);
  const int64_t n = coords.size(0);
  Tensor keys = empty(coords, {n}, ScalarType::Long);
  const auto* rows = cptr<int32_t>(coords);
  const int64_t bad = cpu::pack_keys(rows, n, mptr<int64_t>(keys), torch_threads());
  if (bad >= 0) fail_outside_key_range(rows + 4 * bad, bad);
  return keys;
}

void sort_into(const Tensor& keys, const Tensor& sorted, const Tensor& order) {
  const int64_t n = keys.size(0);
  Tensor scratch = empty(keys, {4 * n}, ScalarType::Long);
  static_assert(sizeof(cpu::KeyRow) == 2 * sizeof(int64_t));
  cpu::sort_keys(cptr<int64_t>(keys), n, mptr<int64_t>(sorted), mptr<int64_t>(order),
                 reinterpret_cast<cpu::KeyRow*>(mptr<int64_t>(scratch)));
}

std::tuple<Tensor, Tensor> sort_keys(const Tensor& keys) {
  check_matrix(keys, "keys", 1, ScalarType::Long);
  Tensor sorted = empty(keys, {keys.size(0)}, ScalarType::Long);
  Tensor order = empty(keys, {keys.size(0)}, ScalarType::Long);
  sort_into(keys, sorted, order);
  return {sorted, order};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> voxelize(const Tensor& coords) {
  Tensor keys = voxel_keys(coords);
  auto [sorted, order] = sort_keys(keys);
  const int64_t num_points = keys.size(0);
  const int64_t num_voxels = cpu::count_distinct(cptr<int64_t>(sorted), num_points);
  Tensor voxels = empty(coords, {num_voxels, 4}, ScalarType::Int);
  Tensor voxel_key = empty(coords, {num_voxels}, ScalarType::Long);
  Tensor inverse = empty(coords, {num_points}, ScalarType::Long);
  Tensor starts = empty(coords, {num_voxels + 1}, ScalarType::Long);
  cpu::distinct_runs(cptr<int64_t>(sorted), cptr<int64_t>(order), num_points,
                     mptr<int64_t>(voxel_key), mptr<int32_t>(voxels), mptr<int64_t>(starts),
                     mptr<int64_t>(inverse));
  return {voxels, voxel_key, inverse, order, starts};
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def("voxel_keys(Tensor coords) -> Tensor");
  m.def("sort_keys(Tensor keys) -> (Tensor sorted, Tensor order)");
  m.def(
      "voxelize(Tensor coords) -> "
      "(Tensor voxels, Tensor keys, Tensor inverse, Tensor order, Tensor starts)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("voxel_keys", TORCH_BOX(&voxel_keys));
  m.impl("sort_keys", TORCH_BOX(&sort_keys));
  m.impl("voxelize", TORCH_BOX(&voxelize));
}

}  // namespace
}  // namespace pointseg
