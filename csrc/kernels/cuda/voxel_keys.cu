#include "kernels/cuda/voxel_keys.h"

#include <algorithm>

#include "kernels/packing.h"

namespace pointseg::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = int64_t{1} << 20;

__global__ void voxel_keys_kernel(const int32_t* __restrict__ coords, int64_t num_rows,
                                  int64_t* __restrict__ keys) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < num_rows;
       i += step) {
    const int32_t* row = coords + 4 * i;
    keys[i] = in_key_range(row) ? pack_key(row) : kOutsideRange;
  }
}

}  // namespace

cudaError_t voxel_keys(const int32_t* coords, int64_t num_rows, int64_t* keys,
                       cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  const int64_t blocks = std::min((num_rows + kThreads - 1) / kThreads, kMaxBlocks);
  voxel_keys_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(coords, num_rows, keys);
  return cudaGetLastError();
}

}  // namespace pointseg::cuda
