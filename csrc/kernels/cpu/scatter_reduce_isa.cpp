// The arithmetic of `scatter_reduce.h` for the instruction set POINTSEG_ISA.
#include "scatter_reduce.h"

#include <algorithm>
#include <vector>

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

constexpr int64_t kBinGrain = 256;
constexpr int64_t kRowGrain = 512;

// One stretch of order[] to reduce into one row: of `out` where it is a whole bin, of the chunk
// buffer otherwise.
struct Chunk {
  int64_t begin, end;
};

// reduce_rows(begin, end, row of out) for every bin that is one chunk; reduce_chunk(begin, end, row
// of the chunk buffer) and then join(first, last, row of out) for the others.
template <class ReduceRows, class ReduceChunk, class Join>
void walk_bins(const RowGroups& groups, const Parallel& parallel, const ReduceRows& reduce_rows,
               const ReduceChunk& reduce_chunk, const Join& join) {
  parallel.ranges(groups.num_bins, kBinGrain, [&](int64_t first, int64_t last) {
    for (int64_t bin = first; bin < last; ++bin) {
      const int64_t begin = groups.starts[bin], end = groups.starts[bin + 1];
      if (end - begin <= kChunkRows) reduce_rows(begin, end, bin);
    }
  });
  std::vector<Chunk> chunks;
  std::vector<int64_t> long_bins, first_chunk;
  for (int64_t bin = 0; bin < groups.num_bins; ++bin) {
    const int64_t begin = groups.starts[bin], end = groups.starts[bin + 1];
    if (end - begin <= kChunkRows) continue;
    long_bins.push_back(bin);
    first_chunk.push_back(static_cast<int64_t>(chunks.size()));
    for (int64_t at = begin; at < end; at += kChunkRows)
      chunks.push_back({at, std::min(at + kChunkRows, end)});
  }
  first_chunk.push_back(static_cast<int64_t>(chunks.size()));
  parallel.tasks(static_cast<int64_t>(chunks.size()), [&](int64_t chunk) {
    reduce_chunk(chunks[chunk].begin, chunks[chunk].end, chunk);
  });
  parallel.tasks(static_cast<int64_t>(long_bins.size()), [&](int64_t index) {
    join(first_chunk[index], first_chunk[index + 1], long_bins[index]);
  });
}

template <typename T>
void add_row(const T* __restrict from, T* __restrict to, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
}

template <typename T>
void sum(const T* src, T* out, T* chunk_out, int64_t channels, const RowGroups& groups, bool mean,
         const Parallel& parallel) {
  const auto finish = [&](T* to, int64_t bin) {
    const int64_t rows = groups.starts[bin + 1] - groups.starts[bin];
    if (!mean || rows <= 1) return;
    const T count = static_cast<T>(rows);
    for (int64_t c = 0; c < channels; ++c) to[c] /= count;
  };
  const auto add = [&](int64_t begin, int64_t end, T* to) {
    std::fill(to, to + channels, T(0));
    for (int64_t at = begin; at < end; ++at)
      add_row(src + groups.order[at] * channels, to, channels);
  };
  walk_bins(
      groups, parallel,
      [&](int64_t begin, int64_t end, int64_t bin) {
        add(begin, end, out + bin * channels);
        finish(out + bin * channels, bin);
      },
      [&](int64_t begin, int64_t end, int64_t chunk) {
        add(begin, end, chunk_out + chunk * channels);
      },
      [&](int64_t first, int64_t last, int64_t bin) {
        T* to = out + bin * channels;
        std::fill(to, to + channels, T(0));
        for (int64_t chunk = first; chunk < last; ++chunk)
          add_row(chunk_out + chunk * channels, to, channels);
        finish(to, bin);
      });
}

template <typename T, bool kMax>
void extreme_of(const T* src, T* out, int64_t* winner, int64_t* chunk_winner, int64_t channels,
                const RowGroups& groups, const Parallel& parallel) {
  // The winner's own row in src is the running best, so chunks need no buffer of values.
  const auto offer = [&](int64_t row, int64_t* best, int64_t c) {
    if (row < 0) return;
    if (best[c] < 0 || replaces<kMax>(src[row * channels + c], src[best[c] * channels + c]))
      best[c] = row;
  };
  const auto pick = [&](int64_t begin, int64_t end, int64_t* best) {
    std::fill(best, best + channels, int64_t{-1});
    for (int64_t at = begin; at < end; ++at)
      for (int64_t c = 0; c < channels; ++c) offer(groups.order[at], best, c);
  };
  const auto finish = [&](int64_t bin) {
    const int64_t* best = winner + bin * channels;
    for (int64_t c = 0; c < channels; ++c)
      out[bin * channels + c] = best[c] < 0 ? T(0) : src[best[c] * channels + c];
  };
  walk_bins(
      groups, parallel,
      [&](int64_t begin, int64_t end, int64_t bin) {
        pick(begin, end, winner + bin * channels);
        finish(bin);
      },
      [&](int64_t begin, int64_t end, int64_t chunk) {
        pick(begin, end, chunk_winner + chunk * channels);
      },
      [&](int64_t first, int64_t last, int64_t bin) {
        int64_t* best = winner + bin * channels;
        std::fill(best, best + channels, int64_t{-1});
        for (int64_t chunk = first; chunk < last; ++chunk)
          for (int64_t c = 0; c < channels; ++c) offer(chunk_winner[chunk * channels + c], best, c);
        finish(bin);
      });
}

template <typename T>
void extreme(const T* src, T* out, int64_t* winner, int64_t* chunk_winner, int64_t channels,
             const RowGroups& groups, bool max, const Parallel& parallel) {
  if (max) return extreme_of<T, true>(src, out, winner, chunk_winner, channels, groups, parallel);
  extreme_of<T, false>(src, out, winner, chunk_winner, channels, groups, parallel);
}

template <typename T>
void sum_grad(const T* grad_out, const int64_t* index, const int64_t* counts, T* grad_src,
              int64_t num_rows, int64_t channels, const Parallel& parallel) {
  parallel.ranges(num_rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const T* __restrict g = grad_out + index[p] * channels;
      T* __restrict x = grad_src + p * channels;
      const T count = counts == nullptr ? T(1) : static_cast<T>(counts[index[p]]);
      for (int64_t c = 0; c < channels; ++c) x[c] = g[c] / count;
    }
  });
}

template <typename T>
void extreme_grad(const T* grad_out, const int64_t* index, const int64_t* winner, T* grad_src,
                  int64_t num_rows, int64_t channels, const Parallel& parallel) {
  parallel.ranges(num_rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const T* __restrict g = grad_out + index[p] * channels;
      const int64_t* __restrict from = winner + index[p] * channels;
      T* __restrict x = grad_src + p * channels;
      for (int64_t c = 0; c < channels; ++c) x[c] = from[c] == p ? g[c] : T(0);
    }
  });
}

template <typename T>
ScatterKernels<T> table() {
  return {sum<T>, extreme<T>, sum_grad<T>, extreme_grad<T>};
}

}  // namespace

ScatterKernels<float> scatter_kernels_f32() { return table<float>(); }
ScatterKernels<double> scatter_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
