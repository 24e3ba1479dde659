// Launchers of sparse_conv_weight_grad: see pointseg/ops/sparse_conv.py for the contract.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

// sum[i] = parts[0][i] + parts[1][i] + ..., in this order; with `onto` it starts from what is
// there.
template <typename S>
Status sum_parts(const S* parts, int64_t num_parts, int64_t size, S* sum, bool onto, Stream stream);

}  // namespace pointseg::cuda
