// pointseg::cpu_isa() -> str: the instruction set the CPU kernels run with.
#include <torch/csrc/stable/library.h>

#include <string>

#include "kernels/isa.h"

namespace {

std::string cpu_isa() { return pointseg::isa_name(pointseg::chosen_isa()); }

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) { m.def("cpu_isa() -> str"); }

// An op without tensors has no backend key to dispatch on.
STABLE_TORCH_LIBRARY_IMPL(pointseg, CompositeExplicitAutograd, m) {
  m.impl("cpu_isa", TORCH_BOX(&cpu_isa));
}
