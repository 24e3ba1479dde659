// The taps of a kernel as a search wants them, on every device: by column along z.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "../kernels/packing.h"
#include "common.h"

namespace pointseg {

// Offsets (x, y, z) of all taps, one after the other, in voxels; their number is a multiple of 3.
using Offsets = std::vector<int32_t>;

inline Offsets check_offsets(const std::vector<int64_t>& offsets) {
  STD_TORCH_CHECK(!offsets.empty() && offsets.size() % 3 == 0,
                  "offsets: expected x, y, z of at least one tap, got ", offsets.size(),
                  " numbers");
  for (size_t i = 0; i < offsets.size(); ++i)
    STD_TORCH_CHECK(offsets[i] >= -kMaxReach && offsets[i] <= kMaxReach, "offsets: tap ", i / 3,
                    " reaches ", offsets[i], " voxels along ", "xyz"[i % 3], ", the limit is ",
                    kMaxReach);
  return {offsets.begin(), offsets.end()};
}

// The taps that share (x, y): (z, tap), ascending, each z once.
struct Column {
  int32_t x, y;
  std::vector<std::pair<int32_t, int32_t>> taps;

  // Key distance from a voxel to the lowest tap, and from there to the highest.
  int64_t low_delta() const { return key_delta(x, y, taps.front().first); }
  int64_t span() const { return int64_t{taps.back().first} - taps.front().first; }
};

inline std::vector<Column> tap_columns(const Offsets& offsets) {
  std::map<std::array<int32_t, 2>, Column> columns;
  for (size_t k = 0; 3 * k < offsets.size(); ++k) {
    const int32_t x = offsets[3 * k], y = offsets[3 * k + 1];
    Column& column = columns[{x, y}];
    column.x = x;
    column.y = y;
    column.taps.emplace_back(offsets[3 * k + 2], static_cast<int32_t>(k));
  }
  std::vector<Column> sorted;
  for (auto& [xy, column] : columns) {
    auto& taps = column.taps;
    std::sort(taps.begin(), taps.end());
    for (size_t j = 1; j < taps.size(); ++j)
      STD_TORCH_CHECK(taps[j].first != taps[j - 1].first, "offsets: tap ", taps[j].second,
                      " repeats another");
    sorted.push_back(std::move(column));
  }
  return sorted;
}

}  // namespace pointseg
