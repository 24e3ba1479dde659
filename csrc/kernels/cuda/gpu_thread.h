// Threads of a GPU: see `executor.h`.
#pragma once

namespace pointseg::cuda {

// The runtime alone is enough for bindings, which launch nothing themselves.
#if defined(__CUDACC__)

extern __shared__ __align__(128) unsigned char block_memory[];

class GpuThread {
 public:
  POINTSEG_DEVICE int thread() const { return static_cast<int>(threadIdx.x); }
  POINTSEG_DEVICE int warp() const { return thread() / kWarp; }
  POINTSEG_DEVICE int lane() const { return thread() % kWarp; }
  POINTSEG_DEVICE int64_t block() const { return blockIdx.x; }
  POINTSEG_DEVICE int64_t blocks() const { return gridDim.x; }
  POINTSEG_DEVICE int64_t part() const { return blockIdx.y; }
  POINTSEG_DEVICE int64_t parts() const { return gridDim.y; }

  template <class S>
  POINTSEG_DEVICE S& shared() {
    return *reinterpret_cast<S*>(block_memory);
  }

  POINTSEG_DEVICE void sync() { __syncthreads(); }
  POINTSEG_DEVICE void warp_sync() { __syncwarp(); }
  POINTSEG_DEVICE uint32_t ballot(bool p) { return __ballot_sync(kAll, p); }
  template <typename V>
  POINTSEG_DEVICE V shuffle(V value, int lane) {
    return __shfl_sync(kAll, value, lane);
  }
  template <typename V>
  POINTSEG_DEVICE V shuffle_xor(V value, int mask) {
    return __shfl_xor_sync(kAll, value, mask);
  }

  POINTSEG_DEVICE void copy_async(void* to, const void* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address(to)), "l"(from),
                 "r"(there ? 16 : 0));
  }
  POINTSEG_DEVICE void commit() { asm volatile("cp.async.commit_group;\n" ::); }
  template <int kGroups>
  POINTSEG_DEVICE void wait() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroups) : "memory");
  }

  POINTSEG_DEVICE void load_matrices(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address(row))
                 : "memory");
  }
  POINTSEG_DEVICE void load_matrices_turned(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address(row))
                 : "memory");
  }

  template <typename T>
  POINTSEG_DEVICE void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<T, Half>) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};\n"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else if constexpr (std::is_same_v<T, Bfloat16>) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};\n"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
      static_assert(std::is_same_v<T, Tf32>);
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};\n"
          : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
  }

 private:
  static constexpr uint32_t kAll = 0xffffffffu;

  POINTSEG_DEVICE static uint32_t address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  }
};

// kSharedBytes is here to stand in the kernel's name, where the resource report reads it.
template <class Body, int64_t kSharedBytes>
__global__ void __launch_bounds__(Body::kThreads, blocks_per_sm<Body>())
    run_on_gpu(const __grid_constant__ Body body) {
  GpuThread thread;
  body(thread);
}

template <class Body>
Status launch(const Body& body, Grid grid, Stream stream) {
  if (grid.blocks <= 0 || grid.parts <= 0) return kSuccess;
  if (grid.blocks > 0x7fffffff || grid.parts > 0xffff) return cudaErrorInvalidConfiguration;
  constexpr int64_t kBytes = shared_bytes<Body>();
  if constexpr (kBytes > 48 * 1024) {
    const Status status =
        cudaFuncSetAttribute(run_on_gpu<Body, kBytes>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(kBytes));
    if (status != kSuccess) return status;
  }
  const dim3 blocks(static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.parts));
  run_on_gpu<Body, kBytes><<<blocks, Body::kThreads, kBytes, stream>>>(body);
  return cudaGetLastError();
}

template <class Body>
Status launch(const Body& body, int64_t blocks, Stream stream) {
  return launch(body, Grid{blocks}, stream);
}

#endif

}  // namespace pointseg::cuda
