// What the ops that make kernel maps share.
#pragma once

#include "common.h"

namespace pointseg {

struct Groups {
  Tensor segments;
  std::vector<int64_t> begins;
  int64_t num_pairs;
};

// counts [blocks, taps] to the place of every group, groups in a row.
inline Groups place_groups(const Tensor& like, const std::vector<int64_t>& counts,
                           int64_t num_taps) {
  const auto num_groups = static_cast<int64_t>(counts.size());
  Groups groups{empty(like, {num_groups / num_taps, num_taps, 2}, ScalarType::Long),
                std::vector<int64_t>(counts.size()), 0};
  int64_t* segment = mptr<int64_t>(groups.segments);
  for (int64_t g = 0; g < num_groups; ++g) {
    groups.begins[g] = segment[2 * g] = groups.num_pairs;
    groups.num_pairs += counts[g];
    segment[2 * g + 1] = groups.num_pairs;
  }
  return groups;
}

// Places in the sorted keys to rows.
inline void to_rows(const std::optional<Tensor>& order, const Tensor& places) {
  if (!order) return;
  const int32_t* row = cptr<int32_t>(*order);
  int32_t* place = mptr<int32_t>(places);
  for (int64_t pair = 0; pair < places.size(0); ++pair) place[pair] = row[place[pair]];
}

}  // namespace pointseg
