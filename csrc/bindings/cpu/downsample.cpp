// downsample, downsample_map: see pointseg/ops/downsample.py for the contract.
#include "../../kernels/cpu/downsample.h"

#include "../downsample.h"
#include "common.h"
#include "map_groups.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor, Tensor> downsample(const Tensor& keys, int64_t stride) {
  check_downsample(keys, stride);
  const int64_t num_keys = keys.size(0);
  const auto* from = cptr<int64_t>(keys);
  const std::vector<int64_t> begins = cpu::find_slabs(from, num_keys, stride);
  const auto num_slabs = static_cast<int64_t>(begins.size()) - 1;
  std::vector<int64_t> counts(num_slabs), firsts(num_slabs);
  Tensor slab_keys = empty(keys, {num_keys}, ScalarType::Long);
  Tensor parents = empty(keys, {num_keys}, ScalarType::Int);
  const Parallel parallel = torch_threads();
  cpu::downsample_slabs(from, begins.data(), num_slabs, stride, mptr<int64_t>(slab_keys),
                        counts.data(), mptr<int32_t>(parents), parallel);
  int64_t num_coarse = 0;
  for (int64_t slab = 0; slab < num_slabs; ++slab) {
    firsts[slab] = num_coarse;
    num_coarse += counts[slab];
  }
  Tensor coarse_keys = empty(keys, {num_coarse}, ScalarType::Long);
  Tensor coords = empty(keys, {num_coarse, 4}, ScalarType::Int);
  cpu::join_slabs(cptr<int64_t>(slab_keys), begins.data(), counts.data(), firsts.data(), num_slabs,
                  mptr<int64_t>(coarse_keys), mptr<int32_t>(coords), mptr<int32_t>(parents),
                  parallel);
  return {coords, coarse_keys, parents};
}

std::tuple<Tensor, Tensor, Tensor> downsample_map(const Tensor& keys,
                                                  const std::optional<Tensor>& order,
                                                  const Tensor& coarse_keys, const Tensor& parents,
                                                  int64_t fine_stride, int64_t size) {
  check_downsample_map(keys, order, coarse_keys, parents, fine_stride, size);
  const int64_t num_fine = keys.size(0), num_coarse = coarse_keys.size(0);
  const auto* parent = cptr<int32_t>(parents);
  for (int64_t i = 0; i < num_fine; ++i)
    STD_TORCH_CHECK(parent[i] >= 0 && parent[i] < num_coarse, "parents: row ", i, " names ",
                    parent[i], " of ", num_coarse);
  const cpu::ParentMap map{cptr<int64_t>(keys),
                           cptr<int64_t>(coarse_keys),
                           parent,
                           num_fine,
                           num_coarse,
                           fine_stride,
                           size};
  std::vector<int64_t> counts(num_blocks(num_coarse) * size * size * size);
  cpu::count_children(map, counts.data());
  Groups groups = place_groups(keys, counts, size * size * size);
  Tensor in_rows = empty(keys, {num_fine}, ScalarType::Int);
  Tensor out_rows = empty(keys, {num_fine}, ScalarType::Int);
  cpu::fill_children(map, groups.begins.data(), mptr<int32_t>(in_rows), mptr<int32_t>(out_rows));
  to_rows(order, in_rows);
  return {in_rows, out_rows, groups.segments};
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def("downsample(Tensor keys, int stride) -> (Tensor coords, Tensor keys, Tensor parents)");
  m.def(
      "downsample_map(Tensor keys, Tensor? order, Tensor coarse_keys, Tensor parents, int "
      "fine_stride, int size) -> (Tensor in_rows, Tensor out_rows, Tensor segments)");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("downsample", TORCH_BOX(&downsample));
  m.impl("downsample_map", TORCH_BOX(&downsample_map));
}

}  // namespace
}  // namespace pointseg
