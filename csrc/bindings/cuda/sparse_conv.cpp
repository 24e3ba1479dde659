// sparse_conv and sparse_conv_fused on CUDA: the schemas are in bindings/cpu/sparse_conv.cpp, the
// contract in pointseg/ops/sparse_conv.py.
#include "../../kernels/cuda/sparse_conv.h"

#include "../row_lists.h"
#include "../sparse_conv.h"
#include "common.h"
#include "conv_by_tap.h"

namespace pointseg {
namespace {

// Where each algorithm finds its arrays. By tap: pair lists, segments and the pairs of each tap;
// fused: row lists after them; in the order of masks, of taps split in `algorithm`: that order.
constexpr size_t kPairArrays = 4, kListArrays = 7, kOrderArrays = 8;

void check_arrays(const std::vector<Tensor>& arrays, int64_t algorithm) {
  STD_TORCH_CHECK(algorithm >= 0 && algorithm <= 3, "algorithm: expected 0 to 3, got ", algorithm);
  const size_t expected = algorithm == 0   ? kPairArrays
                          : algorithm == 1 ? kListArrays
                                           : kOrderArrays;
  STD_TORCH_CHECK(arrays.size() == expected, "map: expected ", expected, " tensors for algorithm ",
                  algorithm, ", got ", arrays.size());
}

// Rows whose pieces of 16 bytes are aligned.
template <typename T>
Tensor in_pieces(const Tensor& feats) {
  const int64_t channels = feats.size(1), padding = cuda::padded_channels<T>(channels) - channels;
  if (padding != 0) return torch::stable::pad(feats, {0, padding});
  const bool aligned = reinterpret_cast<uintptr_t>(feats.const_data_ptr()) % 16 == 0;
  return aligned ? feats : torch::stable::clone(feats);
}

// The weights as the kernel reads them.
template <typename T>
Tensor packed(const Tensor& weight, const OnDevice& device) {
  const int64_t taps = weight.size(0), in = weight.size(1), out = weight.size(2);
  Tensor result = empty(weight, {taps, cuda::padded_channels<T>(in), cuda::padded_channels<T>(out)},
                        std::is_same_v<T, cuda::Half>       ? ScalarType::Half
                        : std::is_same_v<T, cuda::Bfloat16> ? ScalarType::BFloat16
                                                            : ScalarType::Float);
  const int64_t strides[3] = {weight.stride(0), weight.stride(1), weight.stride(2)};
  const auto pack = [&](auto from) {
    using From = decltype(from);
    check_launch(cuda::pack_weight(cptr<From>(weight), taps, in, out, strides, mptr<T>(result),
                                   device.stream()),
                 "sparse_conv", weight);
  };
  if (weight.scalar_type() == result.scalar_type()) {
    pack(T{});
  } else {
    pack(float{});
  }
  return result;
}

template <typename T>
Tensor fused(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
             const std::optional<Tensor>& residual, bool relu, const std::vector<Tensor>& arrays,
             int64_t num_out, int64_t splits, const OnDevice& device) {
  const RowLists lists = row_lists(arrays[4], arrays[5], arrays[6]);
  STD_TORCH_CHECK(lists.num_rows == num_out, "row_starts: expected ", num_out + 1,
                  " elements, got ", lists.num_rows + 1);
  const int64_t out_channels = weight.size(2);
  Tensor out = empty(feats, {num_out, out_channels}, feats.scalar_type());
  if (num_out == 0 || out_channels == 0) return out;
  const Tensor rows = in_pieces<T>(feats), weights = packed<T>(weight, device);
  std::optional<Tensor> start, slabs;
  if (bias) start = torch::stable::to(*bias, ScalarType::Float);
  const int32_t* order = nullptr;
  if (splits > 1) {
    check_matrix(arrays[7], "order", 2, ScalarType::Int);
    STD_TORCH_CHECK(arrays[7].size(0) == splits && arrays[7].size(1) == num_out,
                    "order: expected [", splits, ", ", num_out, "], got ",
                    describe_shape(arrays[7]));
    order = cptr<int32_t>(arrays[7]);
    slabs = empty(feats, {splits, num_out, weights.size(2)}, ScalarType::Float);
  }
  const cuda::FusedConv<T> conv{cptr<T>(rows),
                                cptr<T>(weights),
                                feats.size(1),
                                out_channels,
                                weight.size(0),
                                lists,
                                splits,
                                order,
                                slabs ? mptr<float>(*slabs) : nullptr,
                                start ? cptr<float>(*start) : nullptr,
                                residual ? cptr<T>(*residual) : nullptr,
                                relu,
                                mptr<T>(out)};
  check_launch(cuda::fused_conv(conv, device.stream()), "sparse_conv", feats);
  return out;
}

Tensor sparse_conv_fused(const Tensor& feats, const Tensor& weight,
                         const std::optional<Tensor>& bias, const std::optional<Tensor>& residual,
                         bool relu, const std::vector<Tensor>& arrays, int64_t num_out,
                         int64_t algorithm) {
  check_arrays(arrays, algorithm);
  const MapPairs map = map_pairs(arrays[0], arrays[1], arrays[2], num_out);
  check_conv(feats, weight, bias, residual, map.num_taps, num_out);
  if (algorithm == 0) return conv_by_tap(feats, weight, bias, residual, relu, arrays, num_out);
  const OnDevice device(feats);
  const auto run = [&](auto number) {
    return fused<decltype(number)>(feats, weight, bias, residual, relu, arrays, num_out, algorithm,
                                   device);
  };
  switch (feats.scalar_type()) {
    case ScalarType::Half:
      return run(cuda::Half{});
    case ScalarType::BFloat16:
      return run(cuda::Bfloat16{});
    case ScalarType::Float:
      return run(float{});
    default:
      STD_TORCH_CHECK(false, "feats: tensor cores have no products of ", feats.scalar_type(),
                      ": expected algorithm 0, got ", algorithm);
  }
}

// The swapped map is there for the backward pass alone, which finds it among the inputs.
Tensor sparse_conv(const Tensor& feats, const Tensor& weight, const std::optional<Tensor>& bias,
                   const std::vector<Tensor>& arrays, int64_t num_out, const std::vector<Tensor>&,
                   int64_t algorithm) {
  return sparse_conv_fused(feats, weight, bias, std::nullopt, false, arrays, num_out, algorithm);
}

POINTSEG_CUDA_OPS(m) {
  m.impl("sparse_conv", TORCH_BOX(&sparse_conv));
  m.impl("sparse_conv_fused", TORCH_BOX(&sparse_conv_fused));
}

}  // namespace
}  // namespace pointseg
