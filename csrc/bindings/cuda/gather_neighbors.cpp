// gather_neighbors, gather_neighbors_backward on CUDA: the schemas are in
// bindings/cpu/gather_neighbors.cpp, the contract in pointseg/ops/gather_neighbors.py.
#include "../../kernels/cuda/gather_neighbors.h"

#include "../../kernels/cuda/pool.h"
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
  const OnDevice device(feats);
  Tensor out = zeros(feats, {num_out, map.num_taps, feats.size(1)}, feats.scalar_type());
  const int64_t row_bytes = feats.size(1) * static_cast<int64_t>(feats.element_size());
  check_launch(cuda::gather_neighbors(feats.const_data_ptr(), out.mutable_data_ptr(), row_bytes,
                                      map, device.stream()),
               "gather_neighbors", feats);
  return out;
}

// The map is the swapped one: its input rows are those of grad_out, its output rows those of feats.
Tensor gather_neighbors_backward(const Tensor& grad_out, const Tensor& in_rows,
                                 const Tensor& out_rows, const Tensor& segments, int64_t num_in) {
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_in);
  check_gathered(grad_out, map);
  const OnDevice device(grad_out);
  const int64_t channels = grad_out.size(2);
  const Tensor table = empty(grad_out, {cuda::table_size(map)}, ScalarType::Int);
  Tensor grad_in = empty(grad_out, {num_in, channels}, grad_out.scalar_type());
  dispatch_feats(grad_out.scalar_type(), "gather_neighbors_backward", [&](auto number) {
    using T = decltype(number);
    const cuda::NeighborSum<T> sum{cptr<T>(grad_out), map.num_taps * channels,
                                   channels,          channels,
                                   nullptr,           false,
                                   mptr<T>(grad_in),  nullptr};
    check_launch(cuda::sum_neighbors(sum, map, num_in, mptr<int32_t>(table), device.stream()),
                 "gather_neighbors_backward", grad_out);
  });
  return grad_in;
}

POINTSEG_CUDA_OPS(m) {
  m.impl("gather_neighbors", TORCH_BOX(&gather_neighbors));
  m.impl("gather_neighbors_backward", TORCH_BOX(&gather_neighbors_backward));
}

}  // namespace
}  // namespace pointseg
