// The error for a coordinate row that does not fit into a packed key, the same on every device.
#pragma once

#include <torch/headeronly/util/Exception.h>

#include <cstdint>

#include "../kernels/packing.h"

namespace pointseg {

// `row` is (batch, x, y, z), row number `index` of coords, and lies outside the key range.
inline void fail_outside_key_range(const int32_t* row, int64_t index) {
  for (int axis = 1; axis < 4; ++axis) {
    STD_TORCH_CHECK(row[axis] >= -kMaxCoord && row[axis] <= kMaxCoord, "coords: ", "bxyz"[axis],
                    " = ", row[axis], " at row ", index, " is outside [", -kMaxCoord, ", ",
                    kMaxCoord, "]; use a larger voxel size, or move the scene to the origin");
  }
  STD_TORCH_CHECK(false, "coords: batch index ", row[0], " at row ", index, " is outside [0, ",
                  kMaxBatch, "]");
}

}  // namespace pointseg
