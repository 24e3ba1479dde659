// voxel_keys on CUDA: the schema is in bindings/cpu/voxelize.cpp, the contract in
// pointseg/ops/voxelize.py.
#include "../../kernels/cuda/voxelize.h"

#include "../key_range.h"
#include "common.h"

namespace pointseg {
namespace {

using torch::stable::detail::from;
using torch::stable::detail::to;

// aten::argmin over all elements: int64 scalar tensor on the same device.
Tensor argmin(const Tensor& values) {
  std::array<StableIValue, 3> stack{from(values), from(std::optional<int64_t>()), from(false)};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::argmin", "", stack.data(), TORCH_ABI_VERSION));
  return to<Tensor>(stack[0]);
}

Tensor voxel_keys(const Tensor& coords) {
  check_matrix(coords, "coords", 2, ScalarType::Int);
  STD_TORCH_CHECK(coords.size(1) == 4, "coords: expected shape [N, 4] (batch, x, y, z), got ",
                  describe_shape(coords));
  const OnDevice device(coords);
  const int64_t num_rows = coords.size(0);
  Tensor keys = empty(coords, {num_rows}, ScalarType::Long);
  if (num_rows == 0) return keys;
  const auto* rows = cptr<int32_t>(coords);
  check_launch(cuda::voxel_keys(rows, num_rows, mptr<int64_t>(keys), device.stream()), "voxel_keys",
               coords);
  const int64_t index = read_back<int64_t, 1>(cptr<int64_t>(argmin(keys)), device)[0];
  if (read_back<int64_t, 1>(cptr<int64_t>(keys) + index, device)[0] == cuda::kOutsideRange)
    fail_outside_key_range(read_back<int32_t, 4>(rows + 4 * index, device).data(), index);
  return keys;
}

POINTSEG_CUDA_OPS(m) { m.impl("voxel_keys", TORCH_BOX(&voxel_keys)); }

}  // namespace
}  // namespace pointseg
