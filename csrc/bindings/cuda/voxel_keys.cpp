// voxel_keys on CUDA: the schema is in bindings/cpu/voxelize.cpp, the contract in
// pointseg/ops/voxelize.py.
#include "kernels/cuda/voxel_keys.h"

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <array>

#include "bindings/key_range.h"

namespace pointseg {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using torch::stable::detail::from;
using torch::stable::detail::to;

cudaStream_t current_stream(int32_t device_index) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_index, &stream));
  return static_cast<cudaStream_t>(stream);
}

template <typename T, size_t kCount>
std::array<T, kCount> read_back(const T* device, cudaStream_t stream) {
  std::array<T, kCount> host{};
  STD_CUDA_CHECK(
      cudaMemcpyAsync(host.data(), device, sizeof(host), cudaMemcpyDeviceToHost, stream));
  STD_CUDA_CHECK(cudaStreamSynchronize(stream));
  return host;
}

// aten::argmin over all elements: int64 scalar tensor on the same device.
Tensor argmin(const Tensor& values) {
  std::array<StableIValue, 3> stack{from(values), from(std::optional<int64_t>()), from(false)};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::argmin", "", stack.data(), TORCH_ABI_VERSION));
  return to<Tensor>(stack[0]);
}

Tensor voxel_keys(const Tensor& coords) {
  STD_TORCH_CHECK(coords.dim() == 2 && coords.size(1) == 4,
                  "coords: expected shape [N, 4] (batch, x, y, z)");
  STD_TORCH_CHECK(coords.scalar_type() == ScalarType::Int, "coords: expected dtype int32");
  STD_TORCH_CHECK(coords.is_contiguous(), "coords: expected a contiguous tensor");
  const torch::stable::accelerator::DeviceGuard guard(coords.get_device_index());
  cudaStream_t stream = current_stream(coords.get_device_index());

  const int64_t num_rows = coords.size(0);
  Tensor keys = torch::stable::new_empty(coords, {num_rows}, ScalarType::Long);
  if (num_rows == 0) return keys;
  const auto* rows = static_cast<const int32_t*>(coords.const_data_ptr());
  auto* out = static_cast<int64_t*>(keys.mutable_data_ptr());
  STD_CUDA_CHECK(cuda::voxel_keys(rows, num_rows, out, stream));

  const Tensor smallest = argmin(keys);
  const int64_t index =
      read_back<int64_t, 1>(static_cast<const int64_t*>(smallest.const_data_ptr()), stream)[0];
  if (read_back<int64_t, 1>(out + index, stream)[0] == cuda::kOutsideRange) {
    fail_outside_key_range(read_back<int32_t, 4>(rows + 4 * index, stream).data(), index);
  }
  return keys;
}

}  // namespace
}  // namespace pointseg

STABLE_TORCH_LIBRARY_IMPL(pointseg, CUDA, m) {
  m.impl("voxel_keys", TORCH_BOX(&pointseg::voxel_keys));
}
