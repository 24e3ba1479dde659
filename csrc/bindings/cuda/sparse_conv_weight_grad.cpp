// sparse_conv_weight_grad on CUDA: the schema is in bindings/cpu/sparse_conv.cpp, the contract in
// pointseg/ops/sparse_conv.py.
#include "../../kernels/cuda/conv_weight_grad.h"

#include "../storage.h"
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
        matmul_into(torch::stable::transpose(rows, 0, 1),
                    torch::stable::narrow(grad, 0, piece.begin, piece.count), of_piece);
        const int64_t size = in_channels * out_channels;
        check_launch(
            cuda::sum_parts(cptr<S>(of_piece), 1, size, mptr<S>(grad_weight) + piece.tap * size,
                            true, device.stream()),
            kOp, feats);
      }
    }
  });
}

Tensor sparse_conv_weight_grad(const Tensor& feats, const Tensor& grad_out,
                               const std::vector<Tensor>& arrays, int64_t algorithm) {
  check_feats(feats, "feats");
  check_feats(grad_out, "grad_out");
  STD_TORCH_CHECK(feats.scalar_type() == grad_out.scalar_type(),
                  "grad_out: expected the dtype of feats");
  STD_TORCH_CHECK(arrays.size() >= 3 && arrays[2].dim() == 3, "map: expected pair lists");
  STD_TORCH_CHECK(algorithm == 0, "algorithm: expected 0, got ", algorithm);
  const bool is_double = feats.scalar_type() == ScalarType::Double;
  Tensor grad_weight = zeros(feats, {arrays[2].size(1), feats.size(1), grad_out.size(1)},
                             is_double ? ScalarType::Double : ScalarType::Float);
  if (grad_weight.numel() > 0) grad_by_tap(feats, grad_out, arrays, grad_weight, kChunkBytes);
  return grad_weight;
}

POINTSEG_CUDA_OPS(m) { m.impl("sparse_conv_weight_grad", TORCH_BOX(&sparse_conv_weight_grad)); }

}  // namespace
}  // namespace pointseg
