#include "pool.h"

#include "isa_table.h"
#include "walk_map.h"

namespace pointseg::cpu {

void count_neighbors(const MapPairs& map, int32_t* counts, const Parallel& parallel) {
  walk_map(map, parallel, [&](int64_t, int64_t, int64_t o) { ++counts[o]; });
}

POINTSEG_ISA_TABLE(PoolKernels, pool_kernels)

}  // namespace pointseg::cpu
