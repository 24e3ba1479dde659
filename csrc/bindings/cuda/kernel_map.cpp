// kernel_map, swap_kernel_map on CUDA: the schemas are in bindings/cpu/kernel_map.cpp, the contract
// in pointseg/ops/kernel_map.py.
#include "../order.h"
#include "map_search.h"
#include "swap_map.h"

namespace pointseg {
namespace {

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
  const OnDevice device(in_keys);
  const std::optional<Tensor> places = group_places(out_order, "kernel_map", device);
  const cuda::SortedVoxels in{cptr<int64_t>(in_keys), in_order ? cptr<int32_t>(*in_order) : nullptr,
                              in_keys.size(0)};
  const cuda::SortedVoxels out{cptr<int64_t>(out_keys),
                               out_order ? cptr<int32_t>(*out_order) : nullptr, out_keys.size(0)};
  const PairSearch search(in_keys, in, out, places ? cptr<int32_t>(*places) : nullptr, taps,
                          "kernel_map", device);
  const int64_t num_pairs = read_back(search.num_pairs(), 1, device)[0];
  const MapArrays map = search.fill(out_keys.size(0), num_pairs, device);
  return {map.in_rows, map.out_rows, map.segments};
}

std::tuple<Tensor, Tensor, Tensor> swap_kernel_map(const Tensor& in_rows, const Tensor& out_rows,
                                                   const Tensor& segments, int64_t num_in) {
  const OnDevice device(in_rows);
  const MapArrays map = swap_map(in_rows, out_rows, segments, num_in, "swap_kernel_map", device);
  return {map.in_rows, map.out_rows, map.segments};
}

POINTSEG_CUDA_OPS(m) {
  m.impl("kernel_map", TORCH_BOX(&kernel_map));
  m.impl("swap_kernel_map", TORCH_BOX(&swap_kernel_map));
}

}  // namespace
}  // namespace pointseg
