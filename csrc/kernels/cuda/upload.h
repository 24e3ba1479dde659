// Tables that the host makes, to device memory without waiting for anything.
#pragma once

#include <cstdint>

#include "stream.h"

namespace pointseg::cuda {

// Copies `count` numbers from the host. They travel as arguments of kernels, so `from` may be gone
// when the call returns, and the copy may be captured in a graph.
Status upload(const int64_t* from, int64_t count, int64_t* to, Stream stream);

}  // namespace pointseg::cuda
