#include "group_rows.h"

#include <algorithm>

namespace pointseg::cpu {

template <typename Index>
int64_t group_rows(const Index* index, int64_t num_rows, int64_t num_bins, bool skip_absent,
                   int64_t* order, int64_t* starts) {
  std::fill(starts, starts + num_bins + 1, 0);
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t bin = index[row];
    if (skip_absent && bin == -1) continue;
    if (bin < 0 || bin >= num_bins) return row;
    ++starts[bin + 1];
  }
  for (int64_t bin = 0; bin < num_bins; ++bin) starts[bin + 1] += starts[bin];
  // While rows are placed starts[b] moves to the end of bin b, which is where bin b + 1 begins.
  int64_t absent = starts[num_bins];
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t bin = index[row];
    order[bin < 0 ? absent++ : starts[bin]++] = row;
  }
  for (int64_t bin = num_bins; bin > 0; --bin) starts[bin] = starts[bin - 1];
  starts[0] = 0;
  return -1;
}

template int64_t group_rows(const int32_t*, int64_t, int64_t, bool, int64_t*, int64_t*);
template int64_t group_rows(const int64_t*, int64_t, int64_t, bool, int64_t*, int64_t*);

}  // namespace pointseg::cpu
