// A kernel map as the row-wise kernels take it.
#pragma once

#include "../../kernels/cpu/kernel_map.h"
#include "common.h"

namespace pointseg {

inline cpu::MapPairs map_pairs(const Tensor& in_rows, const Tensor& out_rows,
                               const Tensor& segments) {
  const MapArrays map = map_arrays(in_rows, out_rows, segments);
  return {map.in_rows, map.out_rows, map.segments, map.num_blocks, map.num_taps};
}

}  // namespace pointseg
