// pool, pool_backward on CUDA: the schemas are in bindings/cpu/pool.cpp, the contract in
// pointseg/ops/pool.py.
#include "../../kernels/cuda/pool.h"

#include "../map_pairs.h"
#include "../pool.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor table_for(const MapPairs& map, const Tensor& like) {
  return empty(like, {cuda::table_size(map)}, ScalarType::Int);
}

// The second result is what the backward pass needs: winning input rows [num_out, C] for max,
// numbers of neighbours [num_out] otherwise. The swapped map is there for the backward pass alone.
std::tuple<Tensor, Tensor> pool(const Tensor& feats, const Tensor& in_rows, const Tensor& out_rows,
                                const Tensor& segments, int64_t num_out, int64_t mode,
                                const std::optional<Tensor>&, const std::optional<Tensor>&,
                                const std::optional<Tensor>&) {
  check_feats(feats, "feats");
  const Reduce reduce = pool_mode(mode);
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_out);
  const OnDevice device(feats);
  const int64_t channels = feats.size(1);
  const Tensor table = table_for(map, feats);
  Tensor out = empty(feats, {num_out, channels}, feats.scalar_type());
  Tensor saved = reduce == Reduce::max ? empty(feats, {num_out, channels}, ScalarType::Int)
                                       : empty(feats, {num_out}, ScalarType::Int);
  dispatch_feats(feats.scalar_type(), "pool", [&](auto number) {
    using T = decltype(number);
    const auto run = [&] {
      if (reduce == Reduce::max)
        return cuda::max_neighbors(cptr<T>(feats), channels, map, num_out, mptr<int32_t>(table),
                                   mptr<T>(out), mptr<int32_t>(saved), device.stream());
      const cuda::NeighborSum<T> sum{
          cptr<T>(feats),      channels, 0, channels, nullptr, reduce == Reduce::mean, mptr<T>(out),
          mptr<int32_t>(saved)};
      return cuda::sum_neighbors(sum, map, num_out, mptr<int32_t>(table), device.stream());
    };
    check_launch(run(), "pool", feats);
  });
  return {out, saved};
}

// The map is the swapped one: its input rows are those of grad_out, its output rows those of feats.
Tensor pool_backward(const Tensor& grad_out, const Tensor& saved, const Tensor& in_rows,
                     const Tensor& out_rows, const Tensor& segments, int64_t num_in, int64_t mode) {
  const Reduce reduce = check_pool_backward(grad_out, saved, mode);
  const MapPairs map = map_pairs(in_rows, out_rows, segments, num_in);
  const OnDevice device(grad_out);
  const int64_t channels = grad_out.size(1);
  const Tensor table = table_for(map, grad_out);
  Tensor grad_in = empty(grad_out, {num_in, channels}, grad_out.scalar_type());
  dispatch_feats(grad_out.scalar_type(), "pool_backward", [&](auto number) {
    using T = decltype(number);
    const auto* from = cptr<int32_t>(saved);
    const auto run = [&] {
      if (reduce == Reduce::max)
        return cuda::max_neighbors_grad(cptr<T>(grad_out), from, channels, map, num_in,
                                        mptr<int32_t>(table), mptr<T>(grad_in), device.stream());
      const cuda::NeighborSum<T> sum{
          cptr<T>(grad_out), channels, 0, channels, reduce == Reduce::mean ? from : nullptr, false,
          mptr<T>(grad_in),  nullptr};
      return cuda::sum_neighbors(sum, map, num_in, mptr<int32_t>(table), device.stream());
    };
    check_launch(run(), "pool_backward", grad_out);
  });
  return grad_in;
}

POINTSEG_CUDA_OPS(m) {
  m.impl("pool", TORCH_BOX(&pool));
  m.impl("pool_backward", TORCH_BOX(&pool_backward));
}

}  // namespace
}  // namespace pointseg
