// The schema of prepare_geometry, which only CUDA has: see bindings/cuda/prepare.cpp for what it
// does and pointseg/sparse/prepare.py for who calls it. Schemas are in this library, all of them.
#include "../common.h"

namespace pointseg {
namespace {

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def("prepare_geometry(Tensor keys, Tensor? order, int[] grids, int[] maps) -> Tensor[]");
}

}  // namespace
}  // namespace pointseg
