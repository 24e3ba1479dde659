// executor_check: what every primitive of a GPU thread does to given bits. It has no CPU kernel and
// no public function: tests compare what a GPU and what emulated threads make of it with what the
// primitives promise. Its schema is here because this library holds all of them.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def("executor_check(Tensor inputs, Tensor words) -> (Tensor outputs, Tensor numbers)");
}
