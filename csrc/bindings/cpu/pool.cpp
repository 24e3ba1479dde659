// pool, pool_backward: see pointseg/ops/pool.py for the contract.
#include "../../kernels/cpu/pool.h"

#include "../map_pairs.h"
#include "../pool.h"
#include "common.h"

namespace pointseg {
namespace {

// The second result is what the backward pass needs: winning input rows [num_out, C] for max,
// numbers of neighbours [num_out] otherwise. The swapped map is there for the backward pass alone.
std::tuple<Tensor, Tensor> pool(const Tensor& feats, const Tensor& in_rows, const Tensor& out_rows,
                                const Tensor& segments, int64_t num_out, int64_t mode,
                                const std::optional<Tensor>&, const std::optional<Tensor>&,
                                const std::optional<Tensor>&) {
  check_feats(feats, "feats");
  const Reduce reduce = pool_mode(mode);
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_out);
  const int64_t channels = feats.size(1);
  const Parallel parallel = torch_threads();
  const Tensor in = widen(feats);
  Tensor out = zeros(in, {num_out, channels}, in.scalar_type());
  Tensor saved;
  if (reduce == Reduce::max) {
    saved = empty(in, {num_out, channels}, ScalarType::Int);
    torch::stable::fill_(saved, -1);
  } else {
    saved = zeros(in, {num_out}, ScalarType::Int);
    cpu::count_neighbors(map, mptr<int32_t>(saved), parallel);
  }
  THO_DISPATCH_V2(in.scalar_type(), "pool", AT_WRAP([&]() {
                    const auto& kernels = cpu::pool_kernels<scalar_t>();
                    const auto* x = cptr<scalar_t>(in);
                    auto* y = mptr<scalar_t>(out);
                    if (reduce == Reduce::max) {
                      kernels.max(x, y, mptr<int32_t>(saved), channels, map, parallel);
                      return;
                    }
                    kernels.sum(x, y, channels, map, parallel);
                    if (reduce == Reduce::mean)
                      kernels.divide(y, cptr<int32_t>(saved), num_out, channels, parallel);
                  }),
                  ScalarType::Float, ScalarType::Double);
  return {store_as(out, feats.scalar_type()), saved};
}

// The map is the swapped one: its input rows are those of grad_out, its output rows those of feats.
Tensor pool_backward(const Tensor& grad_out, const Tensor& saved, const Tensor& in_rows,
                     const Tensor& out_rows, const Tensor& segments, int64_t num_in, int64_t mode) {
  const Reduce reduce = check_pool_backward(grad_out, saved, mode);
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_in);
  const int64_t channels = grad_out.size(1);
  const Parallel parallel = torch_threads();
  const Tensor grad = widen(grad_out);
  Tensor grad_in = zeros(grad, {num_in, channels}, grad.scalar_type());
  THO_DISPATCH_V2(grad.scalar_type(), "pool_backward", AT_WRAP([&]() {
                    const auto& kernels = cpu::pool_kernels<scalar_t>();
                    const auto* g = cptr<scalar_t>(grad);
                    auto* x = mptr<scalar_t>(grad_in);
                    const auto* from = cptr<int32_t>(saved);
                    if (reduce == Reduce::max) {
                      kernels.max_grad(g, from, x, channels, map, parallel);
                    } else if (reduce == Reduce::mean) {
                      kernels.mean_grad(g, from, x, channels, map, parallel);
                    } else {
                      kernels.sum(g, x, channels, map, parallel);
                    }
                  }),
                  ScalarType::Float, ScalarType::Double);
  return store_as(grad_in, grad_out.scalar_type());
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg, m) {
  m.def(
      "pool(Tensor feats, Tensor in_rows, Tensor out_rows, Tensor segments, SymInt num_out, int "
      "mode, "
      "Tensor? swapped_in_rows, Tensor? swapped_out_rows, Tensor? swapped_segments) "
      "-> (Tensor out, Tensor saved)");
  m.def(
      "pool_backward(Tensor grad_out, Tensor saved, Tensor in_rows, Tensor out_rows, Tensor "
      "segments, "
      "SymInt num_in, int mode) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointseg, CPU, m) {
  m.impl("pool", TORCH_BOX(&pool));
  m.impl("pool_backward", TORCH_BOX(&pool_backward));
}

}  // namespace
}  // namespace pointseg
