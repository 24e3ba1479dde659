// What every CUDA binding needs: that of all bindings, the tensor's device and stream, checked
// launches, scratch memory, and how operators are registered.
//
// The bindings are compiled twice: for `_C_cuda.so`, and with POINTSEG_EMULATED for the emulation,
// where tensors are on the CPU and the operators are `pointseg_emulated::*`.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <string>

#include "../../kernels/cuda/numbers.h"
#include "../../kernels/cuda/stream.h"
#include "../common.h"

#if defined(POINTSEG_EMULATED)
#define POINTSEG_CUDA_OPS(m) STABLE_TORCH_LIBRARY_IMPL(pointseg_emulated, CPU, m)
#else
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#define POINTSEG_CUDA_OPS(m) STABLE_TORCH_LIBRARY_IMPL(pointseg, CUDA, m)
#endif

namespace pointseg {

// Makes the device of a tensor the current one for as long as it lives, and knows its stream.
class OnDevice {
 public:
#if defined(POINTSEG_EMULATED)
  explicit OnDevice(const Tensor&) {}
#else
  explicit OnDevice(const Tensor& tensor) : guard_(tensor.get_device_index()) {
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(
        aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cuda::Stream>(stream);
  }
#endif

  cuda::Stream stream() const { return stream_; }

 private:
#if !defined(POINTSEG_EMULATED)
  torch::stable::accelerator::DeviceGuard guard_;
#endif
  cuda::Stream stream_{};
};

inline std::string describe_shape(const Tensor& tensor) {
  std::string text = "[";
  for (int64_t d = 0; d < tensor.dim(); ++d)
    text += (d ? ", " : "") + std::to_string(tensor.size(d));
  return text + "]";
}

// Refuses a launch that was not accepted; `op` and the shape of `argument` say which.
inline void check_launch(cuda::Status status, const char* op, const Tensor& argument) {
  STD_TORCH_CHECK(status == cuda::kSuccess, op, " on ", describe_shape(argument), ": CUDA says ",
                  cuda::describe(status));
}

// Copies a few numbers to the host: waits for the stream, and is for ops whose results have sizes
// that only the device knows.
template <typename T, size_t kCount>
std::array<T, kCount> read_back(const T* from, const OnDevice& device) {
  std::array<T, kCount> host{};
#if defined(POINTSEG_EMULATED)
  (void)device;
  memcpy(host.data(), from, sizeof(host));
#else
  STD_CUDA_CHECK(
      cudaMemcpyAsync(host.data(), from, sizeof(host), cudaMemcpyDeviceToHost, device.stream()));
  STD_CUDA_CHECK(cudaStreamSynchronize(device.stream()));
#endif
  return host;
}

// Device memory for the time of one call.
inline Tensor scratch(const Tensor& like, int64_t bytes) {
  return empty(like, {bytes}, ScalarType::Byte);
}

// run(T{}) for the dtype of features as kernels see it: float, double, cuda::Half, cuda::Bfloat16.
template <class Run>
void dispatch_feats(ScalarType dtype, const char* op, const Run& run) {
  switch (dtype) {
    case ScalarType::Float:
      return run(float{});
    case ScalarType::Double:
      return run(double{});
    case ScalarType::Half:
      return run(cuda::Half{});
    case ScalarType::BFloat16:
      return run(cuda::Bfloat16{});
    default:
      STD_TORCH_CHECK(false, op, ": expected a floating-point dtype, got ", dtype);
  }
}

}  // namespace pointseg
