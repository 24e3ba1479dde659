// gather_neighbors, gather_neighbors_backward: see pointseg/ops/gather_neighbors.py for the
// contract.
#include "../../kernels/cpu/gather_neighbors.h"

#include "../gather_neighbors.h"
#include "common.h"

namespace pointseg {
namespace {

// The swapped map is there for the backward pass alone, which finds it among the inputs.
Tensor gather_neighbors(const Tensor& feats, const Tensor& in_rows, const Tensor& out_rows,
                        const Tensor& segments, int64_t num_out, const std::optional<Tensor>&,
                        const std::optional<Tensor>&, const std::optional<Tensor>&) {
  check_feats(feats, "feats");
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_out);
  Tensor out = zeros(feats, {num_out, map.num_taps, feats.size(1)}, feats.scalar_type());
  cpu::gather_neighbors(cptr<char>(feats), mptr<char>(out),
                        feats.size(1) * static_cast<int64_t>(feats.element_size()), map,
                        torch_threads());
  return out;
}

// The map is the swapped one: its input rows are those of grad_out, its output rows those of feats.
Tensor gather_neighbors_backward(const Tensor& grad_out, const Tensor& in_rows,
                                 const Tensor& out_rows, const Tensor& segments, int64_t num_in) {
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_in);
  check_gathered(grad_out, map);
  const Tensor grad = widen(grad_out);
  Tensor grad_in = zeros(grad, {num_in, grad_out.size(2)}, grad.scalar_type());
  THO_DISPATCH_V2(grad.scalar_type(), "gather_neighbors_backward", AT_WRAP([&]() {
                    cpu::gather_kernels<scalar_t>().gather_grad(
                        cptr<scalar_t>(grad), mptr<scalar_t>(grad_in), grad_out.size(2), map,
                        torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(grad_in, grad_out.scalar_type());
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "gather_neighbors(Tensor feats, Tensor in_rows, Tensor out_rows, Tensor segments, SymInt "
      "num_out, "
      "Tensor? swapped_in_rows, Tensor? swapped_out_rows, Tensor? swapped_segments) -> Tensor");
  m.def(
      "gather_neighbors_backward(Tensor grad_out, Tensor in_rows, Tensor out_rows, Tensor "
      "segments, "
      "SymInt num_in) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("gather_neighbors", TORCH_BOX(&gather_neighbors));
  m.impl("gather_neighbors_backward", TORCH_BOX(&gather_neighbors_backward));
}

}  // namespace
}  // namespace pointseg
