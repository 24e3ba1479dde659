// Launchers of voxel_keys and voxelize: see pointseg/ops/voxelize.py for the contract.
#pragma once

#include <cstdint>

#include "stream.h"

namespace pointseg::cuda {

// What stands in place of the key of a row outside the key range; keys are never negative.
constexpr int64_t kOutsideRange = -1;

// keys[i] = packed key of row i of coords, int32 [num_rows, 4].
Status voxel_keys(const int32_t* coords, int64_t num_rows, int64_t* keys, Stream stream);

}  // namespace pointseg::cuda
