#include "conv_by_tap.h"

#include "../storage.h"

namespace pointseg {

Tensor conv_by_tap(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::optional<Tensor>& residual, bool relu,
                   const std::vector<Tensor>& arrays, int64_t num_out, int64_t chunk_bytes) {
  const OnDevice device(feats);
  const ScalarType dtype = feats.scalar_type();
  const ScalarType sum_dtype = dtype == ScalarType::Double ? dtype : ScalarType::Float;
  const int64_t in_channels = feats.size(1), out_channels = weight.size(2);
  Tensor out = empty(feats, {num_out, out_channels}, dtype);
  if (num_out == 0 || out_channels == 0) return out;

  const TapOrder order = tap_order(arrays, num_out, device);
  const int64_t bytes_of_pair =
      (in_channels + out_channels) * (sum_dtype == ScalarType::Double ? 8 : 4);
  const int64_t bytes_of_tap = num_out * static_cast<int64_t>(sizeof(int32_t));
  const std::vector<cuda::TapChunk> chunks =
      order.chunks(chunk_bytes / bytes_of_pair, chunk_bytes / bytes_of_tap);
  int64_t most_pairs = 0, most_taps = 0;
  for (const cuda::TapChunk& chunk : chunks) {
    most_pairs = std::max(most_pairs, chunk.end - chunk.begin);
    most_taps = std::max(most_taps, chunk.num_taps);
  }
  Tensor gathered = empty(feats, {most_pairs, in_channels}, sum_dtype);
  Tensor products = empty(feats, {most_pairs, out_channels}, sum_dtype);
  Tensor places = empty(feats, {most_taps, num_out}, ScalarType::Int);
  // Where chunks leave the sums for the next one: in the result, unless that is rounded.
  Tensor sums = chunks.size() == 1 || dtype == sum_dtype
                    ? out
                    : empty(feats, {num_out, out_channels}, sum_dtype);
  // Weights beside 16-bit features are rounded to their dtype, as tensor cores would want them.
  const Tensor weights = widen(store_as(weight, dtype));
  const std::optional<Tensor> added = bias ? std::optional(store_as(*bias, sum_dtype)) : bias;

  dispatch_feats(dtype, "sparse_conv", [&](auto number) {
    using T = decltype(number);
    using S = cuda::Sum<T>;
    for (size_t i = 0; i < chunks.size(); ++i) {
      const cuda::TapChunk& chunk = chunks[i];
      check_launch(cuda::gather_by_tap<T>(chunk, chunk.map.in_rows, cptr<T>(feats), in_channels,
                                          mptr<S>(gathered), device.stream()),
                   "sparse_conv", feats);
      check_launch(cuda::places_by_tap(chunk, num_out, mptr<int32_t>(places), device.stream()),
                   "sparse_conv", feats);
      for (const TapPiece& piece : order.pieces(chunk))
        matmul_into(torch::stable::narrow(gathered, 0, piece.begin, piece.count),
                    torch::stable::select(weights, 0, piece.tap),
                    torch::stable::narrow(products, 0, piece.begin, piece.count));
      const bool last = i + 1 == chunks.size();
      const cuda::ProductSums<T> args{cptr<S>(products),
                                      cptr<int32_t>(places),
                                      chunk.num_taps,
                                      num_out,
                                      out_channels,
                                      i > 0 ? cptr<S>(sums) : nullptr,
                                      added ? cptr<S>(*added) : nullptr,
                                      residual ? cptr<T>(*residual) : nullptr,
                                      relu,
                                      mptr<S>(sums),
                                      last ? mptr<T>(out) : nullptr};
      check_launch(cuda::sum_by_tap(args, device.stream()), "sparse_conv", feats);
    }
  });
  return out;
}

#if defined(POINTSEG_EMULATED)
// For tests, which have no room for so many pairs that several chunks are needed.
namespace {

Tensor sparse_conv_in_chunks(const Tensor& feats, const Tensor& weight,
                             const std::optional<Tensor>& bias,
                             const std::optional<Tensor>& residual, bool relu,
                             const std::vector<Tensor>& arrays, int64_t num_out,
                             int64_t chunk_bytes) {
  return conv_by_tap(feats, weight, bias, residual, relu, arrays, num_out, chunk_bytes);
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg_emulated, m) {
  m.def(
      "sparse_conv_in_chunks(Tensor feats, Tensor weight, Tensor? bias, Tensor? residual, bool "
      "relu, Tensor[] map, SymInt num_out, int chunk_bytes) -> Tensor");
}
POINTSEG_CUDA_OPS(m) { m.impl("sparse_conv_in_chunks", TORCH_BOX(&sparse_conv_in_chunks)); }

}  // namespace
#endif

}  // namespace pointseg
