// mask_order on CUDA: the schema is in bindings/cpu/mask_order.cpp, the contract in
// pointseg/ops/mask_order.py.
#include "../../kernels/cuda/mask_order.h"

#include <algorithm>

#include "../../kernels/cuda/algorithms.h"
#include "../../kernels/cuda/tap_range.h"
#include "../row_lists.h"
#include "common.h"

namespace pointseg {
namespace {

Tensor mask_order(const Tensor& row_starts, const Tensor& taps, const Tensor& neighbors,
                  std::vector<int64_t> nearest_first, int64_t num_splits) {
  const RowLists lists = row_lists(row_starts, taps, neighbors);
  STD_TORCH_CHECK(num_splits > 0, "num_splits: expected a count, got ", num_splits);
  const OnDevice device(row_starts);
  const auto num_taps = static_cast<int64_t>(nearest_first.size());
  const int64_t num_rows = lists.num_rows;
  Tensor order = empty(row_starts, {num_splits, num_rows}, ScalarType::Int);
  if (num_rows == 0) return order;

  cuda::TapBits bits;
  std::fill(std::begin(bits.of), std::end(bits.of), cuda::kMaskBits);
  std::vector<int> used(num_splits, 0);
  for (const int64_t tap : nearest_first) {
    STD_TORCH_CHECK(tap >= 0 && tap < num_taps, "nearest_first: expected taps below ", num_taps,
                    ", got ", tap);
    int64_t split = 0;
    while (tap >= cuda::taps_of(split, num_splits, num_taps).end) ++split;
    if (tap < cuda::kOrderedTaps && used[split] < cuda::kMaskBits)
      bits.of[tap] = static_cast<uint8_t>(used[split]++);
  }

  Tensor keys = empty(row_starts, {num_splits, num_rows}, ScalarType::Long);
  Tensor sorted = empty(row_starts, {num_rows}, ScalarType::Long);
  Tensor rows = empty(row_starts, {num_rows}, ScalarType::Int);
  check_launch(cuda::mask_keys(lists, bits, num_taps, num_splits, mptr<int64_t>(keys),
                               mptr<int32_t>(rows), device.stream()),
               "mask_order", order);
  const int64_t bytes = cuda::sort_scratch(num_rows);
  Tensor room = scratch(order, bytes);
  for (int64_t split = 0; split < num_splits; ++split)
    check_launch(cuda::sort_pairs(room.mutable_data_ptr(), bytes,
                                  cptr<int64_t>(keys) + split * num_rows, mptr<int64_t>(sorted),
                                  cptr<int32_t>(rows), mptr<int32_t>(order) + split * num_rows,
                                  num_rows, std::max(used[split], 1), device.stream()),
                 "mask_order", order);
  return order;
}

POINTSEG_CUDA_OPS(m) { m.impl("mask_order", TORCH_BOX(&mask_order)); }

}  // namespace
}  // namespace pointseg
