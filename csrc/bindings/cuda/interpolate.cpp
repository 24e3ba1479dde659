// interpolate_corners, interpolate, interpolate_backward on CUDA: the schemas are in
// bindings/cpu/interpolate.cpp, the contract in pointseg/ops/interpolate.py.
#include "../../kernels/cuda/interpolate.h"

#include "../../kernels/cuda/scatter_reduce.h"
#include "../interpolate.h"
#include "group_rows.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor> interpolate_corners(const Tensor& query, const Tensor& sorted_keys,
                                               const std::optional<Tensor>& order, int64_t stride,
                                               int64_t corners) {
  const VoxelSearch grid = voxel_search(query, sorted_keys, order, stride, corners);
  const OnDevice device(query);
  Tensor rows = empty(query, {query.size(0), corners}, ScalarType::Int);
  Tensor weights = empty(query, {query.size(0), corners}, query.scalar_type());
  THO_DISPATCH_V2(query.scalar_type(), "interpolate_corners", AT_WRAP([&]() {
                    check_launch(cuda::interpolate_corners(
                                     grid, cptr<scalar_t>(query), query.size(0), corners,
                                     mptr<int32_t>(rows), mptr<scalar_t>(weights), device.stream()),
                                 "interpolate_corners", query);
                  }),
                  ScalarType::Float, ScalarType::Double);
  return {rows, weights};
}

Tensor interpolate(const Tensor& feats, const Tensor& rows, const Tensor& weights) {
  check_feats(feats, "feats");
  check_corners(rows, weights, feats.scalar_type());
  const OnDevice device(feats);
  const int64_t num_queries = rows.size(0), corners = rows.size(1), channels = feats.size(1);
  Tensor out = empty(feats, {num_queries, channels}, feats.scalar_type());
  dispatch_feats(feats.scalar_type(), "interpolate", [&](auto number) {
    using T = decltype(number);
    check_launch(cuda::interpolate(cptr<T>(feats), cptr<int32_t>(rows), cptr<cuda::Sum<T>>(weights),
                                   num_queries, corners, channels, mptr<T>(out), device.stream()),
                 "interpolate", feats);
  });
  return out;
}

// The slots (query, corner) of a voxel are summed in order.
Tensor interpolate_backward(const Tensor& grad_out, const Tensor& rows, const Tensor& weights,
                            int64_t num_in) {
  check_interpolate_backward(grad_out, rows, weights, num_in);
  const OnDevice device(grad_out);
  const int64_t channels = grad_out.size(1);
  const GroupedRows slots(rows, cptr<int32_t>(rows), num_in, "interpolate_backward", device);
  const Tensor places = empty(grad_out, {cuda::scatter_places(rows.numel()), channels},
                              compute_dtype(grad_out.scalar_type()));
  Tensor grad_feats = empty(grad_out, {num_in, channels}, grad_out.scalar_type());
  dispatch_feats(grad_out.scalar_type(), "interpolate_backward", [&](auto number) {
    using T = decltype(number);
    const cuda::BinSum<T> sum{
        cptr<T>(grad_out),          cptr<cuda::Sum<T>>(weights), rows.size(1), channels, false,
        mptr<cuda::Sum<T>>(places), mptr<T>(grad_feats),         nullptr};
    check_launch(cuda::sum_bins(sum, slots.groups(), device.stream()), "interpolate_backward",
                 grad_out);
  });
  return grad_feats;
}

POINTSEG_CUDA_OPS(m) {
  m.impl("interpolate_corners", TORCH_BOX(&interpolate_corners));
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_backward", TORCH_BOX(&interpolate_backward));
}

}  // namespace
}  // namespace pointseg
