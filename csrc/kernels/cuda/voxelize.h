// Launchers of voxel_keys and voxelize: see pointseg/ops/voxelize.py for the contract.
#pragma once

#include <cstdint>

#include "stream.h"

namespace pointseg::cuda {

// What stands in place of the key of a row outside the key range; keys are never negative.
constexpr int64_t kOutsideRange = -1;

// keys[i] = packed key of row i of coords, int32 [num_rows, 4]. first_outside, one number per
// kRowsOfFirst rows, is their first row outside the key range, `num_rows` where all are inside.
constexpr int64_t kRowsOfFirst = 32;
Status voxel_keys(const int32_t* coords, int64_t num_rows, int64_t* keys, int64_t* first_outside,
                  Stream stream);

// found[0] = the first row outside the key range, or num_rows; found[1 .. 4] = what stands there.
Status find_outside(const int32_t* coords, int64_t num_rows, const int64_t* first_outside,
                    int64_t* found, Stream stream);

}  // namespace pointseg::cuda
