#include "group_rows.h"

#include <bit>

#include "algorithms.h"
#include "executor.h"

namespace pointseg::cuda {
namespace {

template <typename Index>
struct NameBins {
  static constexpr int kThreads = 256;
  const Index* index;
  int64_t num_rows, num_bins;
  int64_t* bins;
  int32_t* order;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t row = t.block() * kThreads + t.thread();
    if (row >= num_rows) return;
    const int64_t bin = index[row];
    bins[row] = bin >= 0 && bin < num_bins ? bin : num_bins;
    order[row] = static_cast<int32_t>(row);
  }
};

// starts[b] is the first sorted row whose bin is not below b.
struct FindStarts {
  static constexpr int kThreads = 256;
  const int64_t* bins;
  int64_t num_rows, num_bins;
  int64_t* starts;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t bin = t.block() * kThreads + t.thread();
    if (bin > num_bins) return;
    int64_t begin = 0, end = num_rows;
    while (begin < end) {
      const int64_t middle = begin + (end - begin) / 2;
      if (bins[middle] < bin) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    starts[bin] = begin;
  }
};

}  // namespace

template <typename Index>
Status group_rows(const Index* index, int64_t num_rows, int64_t num_bins, const GroupMemory& memory,
                  Stream stream) {
  const Status named = launch(
      NameBins<Index>{index, num_rows, num_bins, memory.unsorted_bins, memory.unsorted_order},
      num_blocks_for(num_rows, NameBins<Index>::kThreads), stream);
  if (named != kSuccess) return named;
  if (num_rows > 0) {
    const int bits = std::bit_width(static_cast<uint64_t>(num_bins));
    const Status sorted =
        sort_pairs(memory.scratch, memory.scratch_bytes, memory.unsorted_bins, memory.bins,
                   memory.unsorted_order, memory.order, num_rows, bits > 0 ? bits : 1, stream);
    if (sorted != kSuccess) return sorted;
  }
  return launch(FindStarts{memory.bins, num_rows, num_bins, memory.starts},
                num_blocks_for(num_bins + 1, FindStarts::kThreads), stream);
}

template Status group_rows(const int32_t*, int64_t, int64_t, const GroupMemory&, Stream);
template Status group_rows(const int64_t*, int64_t, int64_t, const GroupMemory&, Stream);

}  // namespace pointseg::cuda
