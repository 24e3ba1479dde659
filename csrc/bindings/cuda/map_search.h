// Kernel maps found in two steps: how many pairs every group has, which only the device knows, then
// the pairs.
#pragma once

#include <cstring>

#include "../../kernels/cuda/kernel_map.h"
#include "../../kernels/cuda/upload.h"
#include "../tap_columns.h"
#include "arrays.h"

namespace pointseg {

struct MapArrays {
  Tensor in_rows, out_rows, segments;
};

// The places of sorted voxels by block of rows, ascending in a block, where rows are not sorted.
inline std::optional<Tensor> group_places(const std::optional<Tensor>& order, const char* op,
                                          const OnDevice& device) {
  if (!order) return std::nullopt;
  const int64_t size = order->size(0);
  Tensor blocks = empty(*order, {size}, ScalarType::Long);
  Tensor places = empty(*order, {size}, ScalarType::Int);
  check_launch(cuda::row_blocks(cptr<int32_t>(*order), size, mptr<int64_t>(blocks),
                                mptr<int32_t>(places), device.stream()),
               op, *order);
  return sort_pairs(blocks, places, bits_below(num_blocks(size)), op, device).values;
}

class PairSearch {
 public:
  // Counts the pairs. `like` is a tensor on the device; the arrays of the voxels, and out_places
  // (see group_places), live as long as the search is used.
  PairSearch(const Tensor& like, const cuda::SortedVoxels& in, const cuda::SortedVoxels& out,
             const int32_t* out_places, const Offsets& offsets, const char* op,
             const OnDevice& device)
      : num_taps_(static_cast<int64_t>(offsets.size() / 3)),
        table_(upload_table(like, offsets, op, device)),
        begins_(zeros(like, {num_blocks(out.size.bound) * num_taps_ + 1}, ScalarType::Long)),
        search_{in, out, out_places, nullptr, num_columns_, nullptr, num_taps_},
        op_(op) {
    const auto* words = cptr<int64_t>(table_);
    search_.columns = reinterpret_cast<const cuda::TapColumn*>(words);
    search_.taps = reinterpret_cast<const cuda::ColumnTap*>(search_.columns + num_columns_);
    check_launch(cuda::count_pairs(search_, mptr<int64_t>(begins_), device.stream()), op, like);
    exclusive_sum(begins_, op, device);
  }

  // On the device: how many pairs there are.
  const int64_t* num_pairs() const { return cptr<int64_t>(begins_) + begins_.size(0) - 1; }
  // Writes to the device the pairs of every tap.
  void tap_pairs(int64_t* pairs, const OnDevice& device) const {
    const int64_t blocks = (begins_.size(0) - 1) / num_taps_;
    check_launch(
        cuda::sum_blocks(cptr<int64_t>(begins_), blocks, num_taps_, pairs, device.stream()), op_,
        begins_);
  }

  // What has been read back: the number of output rows and of pairs.
  MapArrays fill(int64_t num_out, int64_t num_pairs, const OnDevice& device) const {
    MapArrays map{empty(begins_, {num_pairs}, ScalarType::Int),
                  empty(begins_, {num_pairs}, ScalarType::Int),
                  empty(begins_, {num_blocks(num_out), num_taps_, 2}, ScalarType::Long)};
    cuda::MapSearch search = search_;
    search.out.size = num_out;
    check_launch(
        cuda::fill_pairs(search, cptr<int64_t>(begins_), mptr<int32_t>(map.in_rows),
                         mptr<int32_t>(map.out_rows), mptr<int64_t>(map.segments), device.stream()),
        op_, begins_);
    return map;
  }

 private:
  // Columns, then taps, as the kernels read them.
  Tensor upload_table(const Tensor& like, const Offsets& offsets, const char* op,
                      const OnDevice& device) {
    std::vector<cuda::TapColumn> columns;
    std::vector<cuda::ColumnTap> taps;
    for (const Column& column : tap_columns(offsets)) {
      const int32_t low = column.taps.front().first;
      for (size_t j = 0; j < column.taps.size(); ++j) {
        const auto& [z, tap] = column.taps[j];
        if (j % kTapsOfColumn == 0)
          columns.push_back({column.low_delta() + z - low, static_cast<int32_t>(taps.size()), 0});
        const auto& first = column.taps[j - j % kTapsOfColumn];
        taps.push_back({z - first.first, tap});
        ++columns.back().count;
      }
    }
    static_assert(sizeof(cuda::TapColumn) == 2 * sizeof(int64_t));
    static_assert(sizeof(cuda::ColumnTap) == sizeof(int64_t));
    num_columns_ = static_cast<int64_t>(columns.size());
    std::vector<int64_t> words(2 * columns.size() + taps.size());
    memcpy(words.data(), columns.data(), columns.size() * sizeof(cuda::TapColumn));
    memcpy(words.data() + 2 * columns.size(), taps.data(), taps.size() * sizeof(cuda::ColumnTap));
    const auto size = static_cast<int64_t>(words.size());
    Tensor table = empty(like, {size}, ScalarType::Long);
    check_launch(cuda::upload(words.data(), size, mptr<int64_t>(table), device.stream()), op, like);
    return table;
  }

  static constexpr size_t kTapsOfColumn = 32;  // a lane each

  int64_t num_taps_;
  int64_t num_columns_ = 0;
  Tensor table_;
  Tensor begins_;
  cuda::MapSearch search_;
  const char* op_;
};

}  // namespace pointseg
