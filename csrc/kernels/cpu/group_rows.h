// A stable counting sort: the rows of an index array, grouped by the bin they name.
#pragma once

#include <cstdint>

namespace pointseg::cpu {

// The rows p with index[p] == b are order[starts[b] : starts[b + 1]], ascending. order [num_rows],
// starts [num_bins + 1]. Rows with index -1 belong nowhere when `skip_absent`: they end up behind
// starts[num_bins]. Returns the first row whose index is out of range, or -1.
template <typename Index>
int64_t group_rows(const Index* index, int64_t num_rows, int64_t num_bins, bool skip_absent,
                   int64_t* order, int64_t* starts);

}  // namespace pointseg::cpu
