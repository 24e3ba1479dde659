// pointseg::fma_peak(iterations) -> floating-point operations done, in float32 on every thread.
#include "../../kernels/cpu/fma_peak.h"

#include "common.h"

namespace pointseg {
namespace {

int64_t fma_peak(int64_t iterations) {
  STD_TORCH_CHECK(iterations > 0, "iterations: expected a count above 0, got ", iterations);
  const Parallel parallel = torch_threads();
  std::vector<float> sink(parallel.num_threads());
  return cpu::peak_kernels<float>().run(iterations, sink.data(), parallel);
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) { m.def("fma_peak(int iterations) -> int"); }

// An op without tensors has no backend key to dispatch on.
STABLE_TORCH_LIBRARY_IMPL(pointseg, CompositeExplicitAutograd, m) {
  m.impl("fma_peak", TORCH_BOX(&fma_peak));
}

}  // namespace
}  // namespace pointseg
