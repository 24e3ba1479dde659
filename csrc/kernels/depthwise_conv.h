// Depthwise convolution per output row: what the CPU and CUDA loops share. `Lanes` are the channels
// that one call works on, and `Weight` is where theirs are, see `codebook.h`.
#pragma once

#include "packing.h"
#include "row_lists.h"

namespace pointseg {

// sum_k weight[k] * in[neighbor]. Rows of `in` are `stride` elements apart, those of the weight
// `weight_stride`.
template <class Lanes, typename T, class Weight>
POINTSEG_HD Lanes convolve_row(const RowLists& lists, int64_t row, const T* in, int64_t stride,
                               Weight weight, int64_t weight_stride) {
  Lanes sum = Lanes::zero();
  for (int64_t pair = lists.row_starts[row]; pair < lists.row_starts[row + 1]; ++pair)
    sum.add_product(Lanes::load(weight + lists.taps[pair] * weight_stride),
                    Lanes::load(in + lists.neighbors[pair] * stride));
  return sum;
}

// Adds the row's part to grad_weight, laid out like the weight.
template <class Lanes, typename T>
POINTSEG_HD void convolve_row_weight_grad(const RowLists& lists, int64_t row, const T* in,
                                          const T* grad_out, int64_t stride, T* grad_weight,
                                          int64_t weight_stride) {
  const Lanes grad = Lanes::load(grad_out + row * stride);
  for (int64_t pair = lists.row_starts[row]; pair < lists.row_starts[row + 1]; ++pair) {
    T* to = grad_weight + lists.taps[pair] * weight_stride;
    Lanes sum = Lanes::load(to);
    sum.add_product(grad, Lanes::load(in + lists.neighbors[pair] * stride));
    sum.store(to);
  }
}

}  // namespace pointseg
