// The arithmetic of `sparse_conv.h` for one instruction set: POINTSEG_ISA names it, the compiler
// flags of this object allow it. The forward loop is in `conv_panels.h`.
//
// Weight gradient. A tile of input channels x panel weights stays in registers while the pairs of
// one tap and block stream by as outer products.
#include "../isa.h"
#include "conv_panels.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

constexpr int64_t kGradCacheBytes = 256 * 1024;
constexpr int64_t kPrefetchPairs = 8;

struct FmaTile {
  template <class S, int R, int V, typename T>
  static void run(const T* const* in, T* const* out, int64_t last, const T* weight,
                  int64_t in_channels) {
    typename S::Vec acc[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] = S::load(out[r] + place<S, V>(v, last));
    for (int64_t ci = 0; ci < in_channels; ++ci, weight += V * S::kWidth) {
      typename S::Vec w[V];
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) w[v] = S::load(weight + v * S::kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[r][v] += in[r][ci] * w[v];
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) S::store(out[r] + place<S, V>(v, last), acc[r][v]);
  }
};

template <typename T>
void forward(const ConvArgs<T>& a, const T* packed, const Parallel& parallel) {
  convolve<FmaTile>(a, packed, parallel);
}

// grad[first + r] += sum over pairs of in[ci0 + r] * grad_out for the rows r of the tile with
// ci0 + r >= first.
template <class S, int R, int V, bool kNarrow, typename T>
void grad_tile(const WeightGradArgs<T>& a, int64_t begin, int64_t end, int64_t ci0, int64_t first,
               const Panel& panel, T* grad) {
  alignas(kVectorBytes) T row[V * S::kWidth] = {};
  typename S::Vec acc[R][V] = {};
  for (int64_t pair = begin; pair < end; ++pair) {
    const int64_t ahead = std::min(pair + kPrefetchPairs, end - 1);
    prefetch(a.in + int64_t{a.map.in_rows[ahead]} * a.in_channels + ci0, R * sizeof(T));
    prefetch(a.grad_out + int64_t{a.map.out_rows[ahead]} * a.out_channels + panel.first,
             V * kVectorBytes);
    const T* in = a.in + int64_t{a.map.in_rows[pair]} * a.in_channels + ci0;
    const T* g = a.grad_out + int64_t{a.map.out_rows[pair]} * a.out_channels + panel.first;
    if constexpr (kNarrow) g = static_cast<const T*>(std::memcpy(row, g, panel.valid * sizeof(T)));
    typename S::Vec gv[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) gv[v] = S::load(g + place<S, V>(v, panel.last));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] += in[r] * gv[v];
  }
  for (int r = static_cast<int>(first - ci0); r < R; ++r) {
    T* to = grad + (ci0 + r) * a.out_channels + panel.first;
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) S::store(row + place<S, V>(v, panel.last), acc[r][v]);
    for (int64_t j = 0; j < panel.valid; ++j) to[j] += row[j];
  }
}

// All tiles of one (block, tap) and panel: as few as there must be, of R input channels. The last
// may reach back over channels that are done.
template <class S, int R, int V, bool kNarrow, typename T>
void grad_panel(const WeightGradArgs<T>& a, int64_t begin, int64_t end, const Panel& panel,
                T* grad) {
  if constexpr (R > 1) {
    const int64_t tiles = (a.in_channels + tile_rows(V) - 1) / tile_rows(V);
    if (tiles * (R - 1) >= a.in_channels)
      return grad_panel<S, R - 1, V, kNarrow>(a, begin, end, panel, grad);
  }
  for (int64_t first = 0; first < a.in_channels; first += R)
    grad_tile<S, R, V, kNarrow>(a, begin, end, std::min(first, a.in_channels - R), first, panel,
                                grad);
}

// Adds to grad [in_channels, out_channels] what the pairs [begin, end) of one tap give.
template <typename T>
void add_outer_products(const WeightGradArgs<T>& a, int64_t begin, int64_t end, T* grad) {
  over_panels<T>(a.out_channels, [&]<class S, int V>(const Panel& panel) {
    if constexpr (V == 1)
      if (panel.valid < S::kWidth)
        return grad_panel<S, tile_rows(V), V, true>(a, begin, end, panel, grad);
    grad_panel<S, tile_rows(V), V, false>(a, begin, end, panel, grad);
  });
}

template <typename T>
void weight_grad(const WeightGradArgs<T>& a, T* buffers, T* grad_weight, const Parallel& parallel) {
  const int64_t tap_size = a.in_channels * a.out_channels, taps = a.map.num_taps;
  if (tap_size == 0) return;
  // Every tile of a tap reads the rows of its pairs again: as many pairs at a time as stay near.
  const auto row_bytes = static_cast<int64_t>((a.in_channels + a.out_channels) * sizeof(T));
  const int64_t chunk = std::max<int64_t>(64, kGradCacheBytes / row_bytes);
  const auto [slices, groups] = a.split;
  parallel.tasks(slices * groups, [&](int64_t task) {
    const int64_t slice = task / groups, group = task % groups;
    const int64_t first_tap = taps * group / groups, last_tap = taps * (group + 1) / groups;
    T* grad = buffers + slice * taps * tap_size;
    std::fill(grad + first_tap * tap_size, grad + last_tap * tap_size, T(0));
    const int64_t last_block = a.map.num_blocks * (slice + 1) / slices;
    for (int64_t block = a.map.num_blocks * slice / slices; block < last_block; ++block)
      for (int64_t tap = first_tap; tap < last_tap; ++tap) {
        const int64_t* segment = a.map.segments + (block * taps + tap) * 2;
        for (int64_t begin = segment[0]; begin < segment[1]; begin += chunk)
          add_outer_products(a, begin, std::min(begin + chunk, segment[1]), grad + tap * tap_size);
      }
  });
  parallel.ranges(taps * tap_size, 4096, [&](int64_t begin, int64_t end) {
    std::copy(buffers + begin, buffers + end, grad_weight + begin);
    for (int64_t slice = 1; slice < slices; ++slice)
      for (int64_t i = begin; i < end; ++i) grad_weight[i] += buffers[slice * taps * tap_size + i];
  });
}

template <typename T>
ConvKernels<T> table() {
  return {packed_size<T>, pack_panels<T, 1, T>, forward<T>, weight_grad<T>};
}

}  // namespace

ConvKernels<float> conv_kernels_f32() { return table<float>(); }
ConvKernels<double> conv_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
