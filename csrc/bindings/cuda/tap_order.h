// A kernel map in the order of taps, and its chunks: see kernels/cuda/conv_by_tap.h.
#pragma once

#include <algorithm>
#include <vector>

#include "../../kernels/cuda/algorithms.h"
#include "../../kernels/cuda/conv_by_tap.h"
#include "../map_pairs.h"
#include "common.h"

namespace pointseg {

// Room for the rows that are gathered and multiplied at a time.
constexpr int64_t kChunkBytes = int64_t{256} << 20;

// Pairs of one tap, and where they lie in their chunk.
struct TapPiece {
  int64_t tap;
  int64_t begin;
  int64_t count;
};

struct TapOrder {
  MapPairs map;
  std::vector<int64_t> tap_begins;  // place of the first pair of every tap, and the number of pairs
  Tensor group_begins;              // int64 [taps * blocks], on the device

  int64_t num_pairs() const { return tap_begins.back(); }

  // All places, at most so many at a time, of at most so many taps: one chunk at least, which has
  // no taps where there are no pairs.
  std::vector<cuda::TapChunk> chunks(int64_t max_pairs, int64_t max_taps) const {
    std::vector<cuda::TapChunk> list;
    const auto* begins = cptr<int64_t>(group_begins);
    if (num_pairs() == 0) return {{map, begins, 0, 0, 0, 0}};
    for (int64_t place = 0; place < num_pairs(); place = list.back().end) {
      const auto next = std::upper_bound(tap_begins.begin(), tap_begins.end(), place);
      const int64_t first_tap = next - tap_begins.begin() - 1;
      const int64_t last_tap = std::min(first_tap + std::max<int64_t>(max_taps, 1), map.num_taps);
      const int64_t end = std::min(place + std::max<int64_t>(max_pairs, 1), tap_begins[last_tap]);
      const auto end_tap = std::lower_bound(tap_begins.begin(), tap_begins.end(), end);
      list.push_back(
          {map, begins, first_tap, end_tap - tap_begins.begin() - first_tap, place, end});
    }
    return list;
  }

  // The taps of a chunk that have pairs in it.
  std::vector<TapPiece> pieces(const cuda::TapChunk& chunk) const {
    std::vector<TapPiece> list;
    for (int64_t tap = chunk.first_tap; tap < chunk.first_tap + chunk.num_taps; ++tap) {
      const int64_t begin = std::max(tap_begins[tap], chunk.begin);
      const int64_t end = std::min(tap_begins[tap + 1], chunk.end);
      if (begin < end) list.push_back({tap, begin - chunk.begin, end - begin});
    }
    return list;
  }
};

// `arrays` is in_rows, out_rows, segments and, on the host, the number of pairs of every tap: with
// it all sizes are known without asking the device.
inline TapOrder tap_order(const std::vector<Tensor>& arrays, int64_t num_out,
                          const OnDevice& device) {
  STD_TORCH_CHECK(arrays.size() >= 4,
                  "map: expected in_rows, out_rows, segments and tap_pairs, got ", arrays.size(),
                  " tensors");
  const MapPairs map = map_pairs(arrays[0], arrays[1], arrays[2], num_out);
  const Tensor& tap_pairs = arrays[3];
  check_matrix(tap_pairs, "tap_pairs", 1, ScalarType::Long);
  STD_TORCH_CHECK(tap_pairs.is_cpu() && tap_pairs.size(0) == map.num_taps, "tap_pairs: expected ",
                  map.num_taps, " numbers on the CPU, got ", tap_pairs.size(0));
  std::vector<int64_t> tap_begins{0};
  for (int64_t tap = 0; tap < map.num_taps; ++tap)
    tap_begins.push_back(tap_begins.back() + cptr<int64_t>(tap_pairs)[tap]);
  STD_TORCH_CHECK(tap_begins.back() <= arrays[0].size(0), "tap_pairs: expected at most ",
                  arrays[0].size(0), " pairs, got ", tap_begins.back());

  const int64_t num_groups = map.num_taps * map.num_blocks;
  Tensor begins = empty(arrays[2], {num_groups}, ScalarType::Long);
  if (num_groups > 0) {
    auto* groups = mptr<int64_t>(begins);
    check_launch(cuda::tap_group_sizes(map, groups, device.stream()), "sparse_conv", arrays[2]);
    const int64_t bytes = cuda::exclusive_sum_scratch(num_groups);
    Tensor room = scratch(begins, bytes);
    check_launch(cuda::exclusive_sum(room.mutable_data_ptr(), bytes, groups, groups, num_groups,
                                     device.stream()),
                 "sparse_conv", arrays[2]);
  }
  return {map, std::move(tap_begins), begins};
}

// out = a b by the library. Autocast, which may be on here, changes only variants without `out`.
inline void matmul_into(const Tensor& a, const Tensor& b, const Tensor& out) {
  using torch::stable::detail::from;
  using torch::stable::detail::to;
  std::array<StableIValue, 3> stack{from(a), from(b), from(out)};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  to<Tensor>(stack[0]);
}

}  // namespace pointseg
