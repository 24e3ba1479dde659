// downsample, downsample_map on CUDA: the schemas are in bindings/cpu/downsample.cpp, the contract
// in pointseg/ops/downsample.py.
#include "../downsample.h"

#include "key_runs.h"
#include "map_search.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor, Tensor> downsample(const Tensor& keys, int64_t stride) {
  check_downsample(keys, stride);
  const OnDevice device(keys);
  const int64_t num_keys = keys.size(0);
  const KeyRuns runs = KeyRuns::of_coarser(keys, num_keys, stride, "downsample", device);
  const int64_t num_coarse = read_back(runs.num_runs(), 1, device)[0];
  Tensor coarse_keys = empty(keys, {num_coarse}, ScalarType::Long);
  Tensor coords = empty(keys, {num_coarse, 4}, ScalarType::Int);
  Tensor parents = empty(keys, {num_keys}, ScalarType::Int);
  runs.fill({.keys = mptr<int64_t>(coarse_keys),
             .coords = mptr<int32_t>(coords),
             .parents = mptr<int32_t>(parents)},
            device);
  return {coords, coarse_keys, parents};
}

// A search like any other: it costs a look at every coarse voxel and column, no sort of the fine
// ones. Every fine voxel is in one pair, so nothing is read back.
std::tuple<Tensor, Tensor, Tensor> downsample_map(const Tensor& keys,
                                                  const std::optional<Tensor>& order,
                                                  const Tensor& coarse_keys, const Tensor& parents,
                                                  int64_t fine_stride, int64_t size) {
  check_downsample_map(keys, order, coarse_keys, parents, fine_stride, size);
  const OnDevice device(keys);
  Offsets offsets;
  for (int64_t tap = 0; tap < size * size * size; ++tap)
    for (const int64_t steps : {tap % size, tap / size % size, tap / (size * size)})
      offsets.push_back(static_cast<int32_t>(steps * fine_stride));
  const int64_t num_fine = keys.size(0), num_coarse = coarse_keys.size(0);
  const cuda::SortedVoxels fine{cptr<int64_t>(keys), order ? cptr<int32_t>(*order) : nullptr,
                                num_fine};
  const cuda::SortedVoxels coarse{cptr<int64_t>(coarse_keys), nullptr, num_coarse};
  const PairSearch search(keys, fine, coarse, nullptr, offsets, "downsample_map", device);
  const MapArrays map = search.fill(num_coarse, num_fine, device);
  return {map.in_rows, map.out_rows, map.segments};
}

POINTSEG_CUDA_OPS(m) {
  m.impl("downsample", TORCH_BOX(&downsample));
  m.impl("downsample_map", TORCH_BOX(&downsample_map));
}

}  // namespace
}  // namespace pointseg
