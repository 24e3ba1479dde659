// What the bindings of gather_neighbors check on every device.
#pragma once

#include "map_pairs.h"
#include "storage.h"

namespace pointseg {

inline void check_gathered(const Tensor& grad_out, const MapPairs& map) {
  check_feats(grad_out, "grad_out", 3);
  STD_TORCH_CHECK(grad_out.size(1) == map.num_taps, "grad_out: expected ", map.num_taps,
                  " taps, got ", grad_out.size(1));
}

}  // namespace pointseg
