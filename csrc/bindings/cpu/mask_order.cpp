// The schema of mask_order, which has no CPU kernel: only tiles of a GPU are filled by rows of one
// mask. See pointseg/ops/mask_order.py for the contract.
#include "common.h"

namespace pointseg {

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "mask_order(Tensor row_starts, Tensor taps, Tensor neighbors, int[] nearest_first, "
      "int num_splits) -> Tensor");
}

}  // namespace pointseg
