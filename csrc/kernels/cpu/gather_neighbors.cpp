#include "gather_neighbors.h"

#include <cstring>

#include "isa_table.h"
#include "walk_map.h"

namespace pointseg::cpu {

void gather_neighbors(const char* in, char* out, int64_t row_bytes, const MapPairs& map,
                      const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t tap, int64_t i, int64_t o) {
    std::memcpy(out + (o * map.num_taps + tap) * row_bytes, in + i * row_bytes, row_bytes);
  });
}

POINTSEG_ISA_TABLE(GatherKernels, gather_kernels)

}  // namespace pointseg::cpu
