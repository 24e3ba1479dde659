// What launchers take and return: a stream, and a status that says whether the launch was accepted.
#pragma once

#if defined(POINTSEG_EMULATED)

namespace pointseg::cuda {

struct Stream {};
enum class Status { success };
constexpr Status kSuccess = Status::success;
inline const char* describe(Status) { return "success"; }

}  // namespace pointseg::cuda

#else

#include <cuda_runtime.h>

namespace pointseg::cuda {

using Stream = cudaStream_t;
using Status = cudaError_t;
constexpr Status kSuccess = cudaSuccess;
inline const char* describe(Status status) { return cudaGetErrorString(status); }

}  // namespace pointseg::cuda

#endif
