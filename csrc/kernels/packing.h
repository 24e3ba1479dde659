// Voxel coordinates packed into one ordered 64-bit key.
//
// A key holds (batch, x, y, z) from the high bits to the low ones, each axis shifted to be
// non-negative, so comparing keys compares coordinates lexicographically. Packing is linear: the
// key of a voxel moved by (dx, dy, dz) is its key plus `key_delta(dx, dy, dz)`, as long as the
// moved voxel stays inside the field. `kMaxCoord` keeps a margin for that: a voxel inside it may be
// rounded down by a stride of up to `kMaxStride` and moved by up to `kMaxReach` without touching
// its neighbour field.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define POINTSEG_HD __host__ __device__ __forceinline__
#else
#define POINTSEG_HD inline
#endif

namespace pointseg {

constexpr int kAxisBits = 17;
constexpr int kBatchBits = 12;
constexpr int64_t kAxisBias = int64_t{1} << (kAxisBits - 1);
constexpr int32_t kMaxReach = 1024;
constexpr int32_t kMaxStride = 1024;
constexpr int32_t kMaxCoord = static_cast<int32_t>(kAxisBias) - kMaxReach - kMaxStride;
constexpr int32_t kMaxBatch = (1 << kBatchBits) - 1;

POINTSEG_HD int64_t key_delta(int64_t dx, int64_t dy, int64_t dz) {
  return dx * (int64_t{1} << (2 * kAxisBits)) + dy * (int64_t{1} << kAxisBits) + dz;
}

// Row (batch, x, y, z) to key. The caller has checked the range with `in_key_range`.
POINTSEG_HD int64_t pack_key(const int32_t* row) {
  return row[0] * (int64_t{1} << (3 * kAxisBits)) +
         key_delta(row[1] + kAxisBias, row[2] + kAxisBias, row[3] + kAxisBias);
}

POINTSEG_HD void unpack_key(int64_t key, int32_t* row) {
  constexpr int64_t mask = (int64_t{1} << kAxisBits) - 1;
  row[0] = static_cast<int32_t>(key >> (3 * kAxisBits));
  row[1] = static_cast<int32_t>(((key >> (2 * kAxisBits)) & mask) - kAxisBias);
  row[2] = static_cast<int32_t>(((key >> kAxisBits) & mask) - kAxisBias);
  row[3] = static_cast<int32_t>((key & mask) - kAxisBias);
}

POINTSEG_HD bool in_key_range(const int32_t* row) {
  bool inside = row[0] >= 0 && row[0] <= kMaxBatch;
  for (int axis = 1; axis < 4; ++axis)
    inside = inside && row[axis] >= -kMaxCoord && row[axis] <= kMaxCoord;
  return inside;
}

}  // namespace pointseg
