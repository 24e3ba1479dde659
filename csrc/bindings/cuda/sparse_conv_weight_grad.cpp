// sparse_conv_weight_grad on CUDA: the schema is in bindings/cpu/sparse_conv.cpp, the contract in
// pointseg/ops/sparse_conv.py.
#include "../../kernels/cuda/conv_weight_grad.h"

#include "../sparse_conv.h"
#include "common.h"
#include "tap_order.h"

namespace pointseg {
namespace {

constexpr const char* kOp = "sparse_conv_weight_grad";

// One library GEMM per tap and chunk, of gathered rows; chunks are added in order.
void grad_by_tap(const Tensor& feats, const Tensor& grad_out, const std::vector<Tensor>& arrays,
                 const Tensor& grad_weight, int64_t chunk_bytes) {
  const OnDevice device(feats);
  const TapOrder order = tap_order(arrays, grad_out.size(0), device);
  const ScalarType sum_dtype = grad_weight.scalar_type();
  const int64_t in_channels = feats.size(1), out_channels = grad_out.size(1);
  const int64_t bytes_of_pair =
      (in_channels + out_channels) * (sum_dtype == ScalarType::Double ? 8 : 4);
  const std::vector<cuda::TapChunk> chunks =
      order.chunks(chunk_bytes / bytes_of_pair, order.map.num_taps);
  int64_t most_pairs = 0;
  for (const cuda::TapChunk& chunk : chunks)
    most_pairs = std::max(most_pairs, chunk.end - chunk.begin);
  Tensor in = empty(feats, {most_pairs, in_channels}, sum_dtype);
  Tensor grad = empty(feats, {most_pairs, out_channels}, sum_dtype);
  Tensor of_piece = empty(feats, {in_channels, out_channels}, sum_dtype);

  dispatch_feats(feats.scalar_type(), kOp, [&](auto number) {
    using T = decltype(number);
    using S = cuda::Sum<T>;
    for (const cuda::TapChunk& chunk : chunks) {
      check_launch(cuda::gather_by_tap<T>(chunk, chunk.map.in_rows, cptr<T>(feats), in_channels,
                                          mptr<S>(in), device.stream()),
                   kOp, feats);
      check_launch(cuda::gather_by_tap<T>(chunk, chunk.map.out_rows, cptr<T>(grad_out),
                                          out_channels, mptr<S>(grad), device.stream()),
                   kOp, grad_out);
      for (const TapPiece& piece : order.pieces(chunk)) {
        const Tensor rows = torch::stable::narrow(in, 0, piece.begin, piece.count);
        const Tensor of_tap = torch::stable::select(grad_weight, 0, piece.tap);
        const bool is_first = chunk.begin + piece.begin == order.tap_begins[piece.tap];
        matmul_into(torch::stable::transpose(rows, 0, 1),
                    torch::stable::narrow(grad, 0, piece.begin, piece.count),
                    is_first ? of_tap : of_piece);
        if (!is_first)
          check_launch(cuda::sum_parts(cptr<S>(of_piece), 1, of_piece.numel(), mptr<S>(of_tap),
                                       true, device.stream()),
                       kOp, feats);
      }
    }
  });
}

// Fused, on tensor cores: sums of slices of the map, which are added in order.
void grad_by_tiles(const Tensor& feats, const Tensor& grad_out, const std::vector<Tensor>& arrays,
                   const Tensor& grad_weight) {
  STD_TORCH_CHECK(feats.scalar_type() != ScalarType::Double,
                  "algorithm: expected 0 for float64, got 1");
  const OnDevice device(feats);
  const MapPairs map = map_pairs(arrays[0], arrays[1], arrays[2], grad_out.size(0));
  const int64_t in_channels = feats.size(1), out_channels = grad_out.size(1);
  const int64_t slices = cuda::weight_grad_slices(map, in_channels, out_channels);
  const int64_t size = grad_weight.numel();
  Tensor parts = slices == 1 ? grad_weight : empty(grad_weight, {slices, size}, ScalarType::Float);
  const auto run = [&](auto number) {
    using T = decltype(number);
    const cuda::ConvWeightGradArgs<T> args{
        cptr<T>(feats), cptr<T>(grad_out), in_channels, out_channels, map,
        slices,         mptr<float>(parts)};
    check_launch(cuda::conv_weight_grad(args, device.stream()), kOp, feats);
  };
  if (feats.scalar_type() == ScalarType::Float) {
    run(float{});
  } else if (feats.scalar_type() == ScalarType::Half) {
    run(cuda::Half{});
  } else {
    run(cuda::Bfloat16{});
  }
  if (slices > 1)
    check_launch(cuda::sum_parts(cptr<float>(parts), slices, size, mptr<float>(grad_weight), false,
                                 device.stream()),
                 kOp, feats);
}

// Sums in float32, or double for float64. Algorithm 0 is by tap, 1 by tiles.
Tensor sparse_conv_weight_grad(const Tensor& feats, const Tensor& grad_out,
                               const std::vector<Tensor>& arrays, int64_t algorithm) {
  check_conv_weight_grad(feats, grad_out);
  STD_TORCH_CHECK(arrays.size() >= 3, "map: expected in_rows, out_rows and segments first, got ",
                  arrays.size(), " tensors");
  check_matrix(arrays[2], "segments", 3, ScalarType::Long);
  STD_TORCH_CHECK(algorithm == 0 || algorithm == 1, "algorithm: expected 0 or 1, got ", algorithm);
  const ScalarType dtype =
      feats.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor grad_weight = zeros(feats, {arrays[2].size(1), feats.size(1), grad_out.size(1)}, dtype);
  if (grad_weight.numel() == 0 || grad_out.size(0) == 0) return grad_weight;
  if (algorithm == 0) {
    grad_by_tap(feats, grad_out, arrays, grad_weight, kChunkBytes);
  } else {
    grad_by_tiles(feats, grad_out, arrays, grad_weight);
  }
  return grad_weight;
}

POINTSEG_CUDA_OPS(m) { m.impl("sparse_conv_weight_grad", TORCH_BOX(&sparse_conv_weight_grad)); }

#if defined(POINTSEG_EMULATED)
// For tests, which have no room for so many pairs that several chunks are needed.
Tensor sparse_conv_weight_grad_in_chunks(const Tensor& feats, const Tensor& grad_out,
                                         const std::vector<Tensor>& arrays, int64_t chunk_bytes) {
  Tensor grad_weight =
      zeros(feats, {arrays[2].size(1), feats.size(1), grad_out.size(1)}, ScalarType::Float);
  grad_by_tap(feats, grad_out, arrays, grad_weight, chunk_bytes);
  return grad_weight;
}

STABLE_TORCH_LIBRARY_FRAGMENT(pointseg_emulated, m) {
  m.def(
      "sparse_conv_weight_grad_in_chunks(Tensor feats, Tensor grad_out, Tensor[] map, int "
      "chunk_bytes) -> Tensor");
}
POINTSEG_CUDA_OPS(m) {
  m.impl("sparse_conv_weight_grad_in_chunks", TORCH_BOX(&sparse_conv_weight_grad_in_chunks));
}
#endif

}  // namespace
}  // namespace pointseg
