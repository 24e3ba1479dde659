// What every CPU binding needs: that of all bindings, and the thread pool.
#pragma once

#include "../../kernels/parallel.h"
#include "../common.h"

namespace pointseg {

inline Parallel torch_threads() {
  return Parallel(
      [](int64_t begin, int64_t end, int64_t grain, Parallel::Body body, void* context) {
        torch::stable::parallel_for(begin, end, grain,
                                    [&](int64_t b, int64_t e) { body(b, e, context); });
      },
      torch::stable::get_num_threads());
}

}  // namespace pointseg
