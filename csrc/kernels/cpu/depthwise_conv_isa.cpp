// The arithmetic of `depthwise_conv.h` for the instruction set POINTSEG_ISA.
#include "depthwise_conv.h"

#include <algorithm>

#include "lanes.h"
#include "row_slices.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

template <typename T>
void forward(const T* in, const T* weight, T* out, int64_t channels, int64_t num_taps,
             const RowLists& lists, T* packed, const Parallel& parallel) {
  pack_rows(weight, num_taps, channels, packed);
  over_rows(lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(channels, [&]<class L>(int64_t first) {
      for (int64_t row = begin; row < end; ++row)
        convolve_row<L>(lists, row, in + first, channels, packed + first * num_taps, L::kCount)
            .store(out + row * channels + first);
    });
  });
}

template <typename T>
void weight_grad(const T* in, const T* grad_out, T* grad_weight, int64_t channels, int64_t num_taps,
                 const RowLists& lists, T* packed, T* buffers, const Parallel& parallel) {
  const int64_t size = num_taps * channels;
  over_slices(lists.num_rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    T* sums = buffers + slice * size;
    std::fill(sums, sums + size, T(0));
    for (int64_t tile = begin; tile < end; tile += kTaskRows)
      over_lanes<T>(channels, [&]<class L>(int64_t first) {
        for (int64_t row = tile; row < std::min(tile + kTaskRows, end); ++row)
          convolve_row_weight_grad<L>(lists, row, in + first, grad_out + first, channels,
                                      sums + first * num_taps, L::kCount);
      });
  });
  add_slices(buffers, num_slices(lists.num_rows), size, packed);
  unpack_rows(packed, num_taps, channels, grad_weight);
}

template <typename T>
DepthwiseKernels<T> table() {
  return {forward<T>, weight_grad<T>};
}

}  // namespace

DepthwiseKernels<float> depthwise_kernels_f32() { return table<float>(); }
DepthwiseKernels<double> depthwise_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
