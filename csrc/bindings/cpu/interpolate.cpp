// interpolate_corners, interpolate, interpolate_backward: see pointseg/ops/interpolate.py for the
// contract.
#include "../../kernels/cpu/interpolate.h"

#include "../../kernels/cpu/group_rows.h"
#include "../interpolate.h"
#include "common.h"

namespace pointseg {
namespace {

std::tuple<Tensor, Tensor> interpolate_corners(const Tensor& query, const Tensor& sorted_keys,
                                               const std::optional<Tensor>& order, int64_t stride,
                                               int64_t corners) {
  const VoxelSearch grid = voxel_search(query, sorted_keys, order, stride, corners);
  Tensor rows = empty(query, {query.size(0), corners}, ScalarType::Int);
  Tensor weights = empty(query, {query.size(0), corners}, query.scalar_type());
  THO_DISPATCH_V2(query.scalar_type(), "interpolate_corners", AT_WRAP([&]() {
                    cpu::interpolate_corners<scalar_t>(grid, cptr<scalar_t>(query), query.size(0),
                                                       corners, mptr<int32_t>(rows),
                                                       mptr<scalar_t>(weights), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return {rows, weights};
}

Tensor interpolate(const Tensor& feats, const Tensor& rows, const Tensor& weights) {
  check_feats(feats, "feats");
  const Tensor in = widen(feats);
  check_corners(rows, weights, feats.scalar_type());
  const int64_t num_queries = rows.size(0), corners = rows.size(1), channels = feats.size(1);
  Tensor out = empty(in, {num_queries, channels}, in.scalar_type());
  THO_DISPATCH_V2(in.scalar_type(), "interpolate", AT_WRAP([&]() {
                    cpu::interpolate_kernels<scalar_t>().forward(
                        cptr<scalar_t>(in), cptr<int32_t>(rows), cptr<scalar_t>(weights),
                        mptr<scalar_t>(out), num_queries, corners, channels, torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(out, feats.scalar_type());
}

Tensor interpolate_backward(const Tensor& grad_out, const Tensor& rows, const Tensor& weights,
                            int64_t num_in) {
  check_interpolate_backward(grad_out, rows, weights, num_in);
  const Tensor grad = widen(grad_out);
  const int64_t corners = rows.size(1), num_slots = rows.size(0) * corners;
  Tensor order = empty(rows, {num_slots}, ScalarType::Long);
  Tensor starts = empty(rows, {num_in + 1}, ScalarType::Long);
  const int64_t bad = cpu::group_rows(cptr<int32_t>(rows), num_slots, num_in, true,
                                      mptr<int64_t>(order), mptr<int64_t>(starts));
  STD_TORCH_CHECK(bad < 0, "rows: expected -1 to ", num_in - 1, ", got ", cptr<int32_t>(rows)[bad]);
  const cpu::RowGroups slots{cptr<int64_t>(order), cptr<int64_t>(starts), num_in};
  Tensor grad_feats = empty(grad, {num_in, grad_out.size(1)}, grad.scalar_type());
  THO_DISPATCH_V2(grad.scalar_type(), "interpolate_backward", AT_WRAP([&]() {
                    cpu::interpolate_kernels<scalar_t>().grad(
                        cptr<scalar_t>(grad), cptr<scalar_t>(weights), slots,
                        mptr<scalar_t>(grad_feats), corners, grad_out.size(1), torch_threads());
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(grad_feats, grad_out.scalar_type());
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "interpolate_corners(Tensor query, Tensor sorted_keys, Tensor? order, int stride, int "
      "corners) "
      "-> (Tensor rows, Tensor weights)");
  m.def("interpolate(Tensor feats, Tensor rows, Tensor weights) -> Tensor");
  m.def(
      "interpolate_backward(Tensor grad_out, Tensor rows, Tensor weights, SymInt num_in) -> "
      "Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("interpolate_corners", TORCH_BOX(&interpolate_corners));
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_backward", TORCH_BOX(&interpolate_backward));
}

}  // namespace
}  // namespace pointseg
