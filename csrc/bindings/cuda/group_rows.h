// Rows grouped by bin, with the memory that they take.
#pragma once

#include "../../kernels/cuda/algorithms.h"
#include "../../kernels/cuda/group_rows.h"
#include "common.h"

namespace pointseg {

class GroupedRows {
 public:
  // `at` is where `index` lies, int32 or int64, of any shape.
  template <typename Index>
  GroupedRows(const Tensor& index, const Index* at, int64_t num_bins, const char* op,
              const OnDevice& device) {
    const int64_t rows = index.numel();
    STD_TORCH_CHECK(rows <= INT32_MAX, op, " on ", describe_shape(index), ": expected at most ",
                    INT32_MAX, " entries");
    const Tensor unsorted_bins = empty(index, {rows}, ScalarType::Long);
    const Tensor unsorted_order = empty(index, {rows}, ScalarType::Int);
    const Tensor memory = scratch(index, cuda::sort_scratch(rows));
    bins_ = empty(index, {rows}, ScalarType::Long);
    order_ = empty(index, {rows}, ScalarType::Int);
    starts_ = empty(index, {num_bins + 1}, ScalarType::Long);
    check_launch(
        cuda::group_rows(at, rows, num_bins,
                         {mptr<int64_t>(unsorted_bins), mptr<int64_t>(bins_),
                          mptr<int32_t>(unsorted_order), mptr<int32_t>(order_),
                          mptr<int64_t>(starts_), memory.mutable_data_ptr(), memory.numel()},
                         device.stream()),
        op, index);
    groups_ = {cptr<int64_t>(bins_), cptr<int32_t>(order_), cptr<int64_t>(starts_), rows, num_bins};
  }

  const cuda::RowGroups& groups() const { return groups_; }

 private:
  Tensor bins_, order_, starts_;
  cuda::RowGroups groups_{};
};

}  // namespace pointseg
