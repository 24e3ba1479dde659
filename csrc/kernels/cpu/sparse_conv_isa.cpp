// The arithmetic of `sparse_conv.h` for one instruction set: POINTSEG_ISA names it, the compiler
// flags of this object allow it.
//
// Output channels are cut into panels of up to kVectors vectors. Where the last vector of a row
// would reach past its end, it is moved back over the one before: lanes that two vectors share hold
// the same sum twice, so storing both is right. Rows shorter than one vector go through a spare
// row.
//
// Forward. Weights are packed panel by panel, so one panel of one tap is a contiguous [in_channels,
// panel] matrix. A tile of pairs keeps its rows x panel outputs in registers while the panel
// streams by: inputs are read in place through row pointers, outputs are loaded, updated and stored
// in place.
//
// Weight gradient. A tile of input channels x panel weights stays in registers while the pairs of
// one tap and block stream by as outer products.
#include <algorithm>
#include <cstring>

#include "../isa.h"
#include "sparse_conv.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRows = 6, kVectors = 4;  // 24 of 32 registers accumulate
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kRows = 6, kVectors = 2;  // 12 of 16
#else
constexpr int kVectorBytes = 16;
constexpr int kRows = 4, kVectors = 2;  // 8 of 16
#endif

constexpr int kMaxRows = 12;
constexpr int64_t kGradCacheBytes = 256 * 1024;
constexpr int64_t kLineBytes = 64;
// Neighbours lie anywhere, so no hardware guesses the next row. Of long rows it guesses the rest.
constexpr int64_t kPrefetchBytes = 8 * kLineBytes;
constexpr int64_t kPrefetchPairs = 8;

// Rows of a tile of V vectors: as many as keep the accumulators in registers.
constexpr int tile_rows(int vectors) { return std::min(kRows * kVectors / vectors, kMaxRows); }

template <typename Element, int kBytes = kVectorBytes>
struct Simd {
  using T = Element;
  static constexpr int kWidth = kBytes / sizeof(T);
  typedef T Vec __attribute__((vector_size(kBytes)));
  typedef T Loose __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));

  static Vec load(const T* p) { return *reinterpret_cast<const Loose*>(p); }
  static void store(T* p, Vec v) { *reinterpret_cast<Loose*>(p) = v; }
};

inline void prefetch(const void* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kLineBytes)
    __builtin_prefetch(static_cast<const char*>(row) + at);
}

// Channels [first, first + valid) of a row as V vectors S, the last of them at `first + last`. In
// the packed weights, too, `first` vectors' elements come before it.
struct Panel {
  int64_t first;
  int64_t valid;
  int64_t last;
};

// fn.template operator()<S, V>(panel) for all panels of `vectors` vectors S, of about equal width.
template <class S, class F>
void over_panels_of(int64_t channels, const F& fn) {
  const int64_t vectors = (channels + S::kWidth - 1) / S::kWidth;
  const int64_t panels = (vectors + kVectors - 1) / kVectors;
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t begin = vectors * p / panels, end = vectors * (p + 1) / panels;
    const int64_t first = begin * S::kWidth;
    const int64_t valid = std::min(end * S::kWidth, channels) - first;
    const Panel panel{first, valid, std::max<int64_t>(valid - S::kWidth, 0)};
    switch (end - begin) {
#define POINTSEG_PANEL(V)                                             \
  case V:                                                             \
    if constexpr (V <= kVectors) fn.template operator()<S, V>(panel); \
    break;
      POINTSEG_PANEL(1)
      POINTSEG_PANEL(2)
      POINTSEG_PANEL(3)
      POINTSEG_PANEL(4)
#undef POINTSEG_PANEL
      default:
        __builtin_trap();  // panels are not wider than kVectors
    }
  }
}

// Of a row shorter than a vector, halves of one cover more without padding.
template <typename T, class F>
void over_panels(int64_t channels, const F& fn) {
  if (channels < Simd<T>::kWidth)
    over_panels_of<Simd<T, kVectorBytes / 2>>(channels, fn);
  else
    over_panels_of<Simd<T>>(channels, fn);
}

template <typename T>
int64_t packed_size(int64_t in_channels, int64_t out_channels) {
  int64_t width = 0;
  over_panels<T>(out_channels, [&]<class S, int V>(const Panel&) { width += V * S::kWidth; });
  return in_channels * width;
}

// Where vector v of a panel begins.
template <class S, int V>
constexpr int64_t place(int v, int64_t last) {
  return v == V - 1 ? last : int64_t{v} * S::kWidth;
}

template <typename T>
void pack(const T* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
          int64_t stride_tap, int64_t stride_in, int64_t stride_out, T* packed,
          const Parallel& parallel) {
  const int64_t size = packed_size<T>(in_channels, out_channels);
  parallel.tasks(num_taps, [&](int64_t tap) {
    T* to = packed + tap * size;
    over_panels<T>(out_channels, [&]<class S, int V>(const Panel& panel) {
      for (int64_t ci = 0; ci < in_channels; ++ci)
        for (int v = 0; v < V; ++v, to += S::kWidth) {
          const int64_t at = place<S, V>(v, panel.last);
          const T* from =
              weight + tap * stride_tap + ci * stride_in + (panel.first + at) * stride_out;
          const int64_t there = std::min<int64_t>(S::kWidth, panel.valid - at);
          for (int64_t j = 0; j < there; ++j) to[j] = from[j * stride_out];
          std::fill(to + there, to + S::kWidth, T(0));
        }
    });
  });
}

template <class S, int R, int V, typename T>
void conv_tile(const T* const* in, T* const* out, int64_t last, const T* weight,
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

// All pairs of one (block, tap) against one panel.
template <class S, int V, typename T>
void conv_panel(const ConvArgs<T>& a, int64_t begin, int64_t end, const T* weight,
                const Panel& panel) {
  constexpr int R = tile_rows(V);
  const bool narrow = panel.valid < S::kWidth;
  const int64_t row_bytes = std::min<int64_t>(a.in_channels * sizeof(T), kPrefetchBytes);
  alignas(kVectorBytes) T spare[R][V * S::kWidth];
  const T* in[R];
  T* out[R];
  for (int64_t pair = begin; pair < end; pair += R) {
    const int rows = static_cast<int>(std::min<int64_t>(R, end - pair));
    for (int r = 0; r < R; ++r) {
      // Rows past the end repeat the last input and write to a spare row.
      const int64_t p = pair + std::min(r, rows - 1);
      in[r] = a.in + int64_t{a.map.in_rows[p]} * a.in_channels;
      out[r] = r < rows && !narrow
                   ? a.out + int64_t{a.map.out_rows[p]} * a.out_channels + panel.first
                   : spare[r];
    }
    for (int64_t p = pair + R; p < std::min(pair + 2 * R, end); ++p) {
      prefetch(a.in + int64_t{a.map.in_rows[p]} * a.in_channels, row_bytes);
      prefetch(a.out + int64_t{a.map.out_rows[p]} * a.out_channels + panel.first, V * kVectorBytes);
    }
    if (narrow)
      for (int r = 0; r < rows; ++r)
        std::memcpy(spare[r], a.out + int64_t{a.map.out_rows[pair + r]} * a.out_channels,
                    panel.valid * sizeof(T));
    conv_tile<S, R, V>(in, out, panel.last, weight, a.in_channels);
    if (narrow)
      for (int r = 0; r < rows; ++r)
        std::memcpy(a.out + int64_t{a.map.out_rows[pair + r]} * a.out_channels, spare[r],
                    panel.valid * sizeof(T));
  }
}

// What the sums of rows [begin, end) start from.
template <typename T>
void begin_rows(const ConvArgs<T>& a, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; ++o) {
    T* y = a.out + o * a.out_channels;
    if (a.residual != nullptr) {
      const T* r = a.residual + o * a.out_channels;
      for (int64_t c = 0; c < a.out_channels; ++c) y[c] = a.bias ? r[c] + a.bias[c] : r[c];
    } else if (a.bias != nullptr) {
      std::copy(a.bias, a.bias + a.out_channels, y);
    } else {
      std::fill(y, y + a.out_channels, T(0));
    }
  }
}

template <typename T>
void forward(const ConvArgs<T>& a, const T* packed, const Parallel& parallel) {
  const int64_t tap_size = packed_size<T>(a.in_channels, a.out_channels);
  parallel.tasks(num_blocks(a.num_out), [&](int64_t block) {
    const int64_t begin = block * kBlockRows, end = std::min(begin + kBlockRows, a.num_out);
    begin_rows(a, begin, end);
    for (int64_t tap = 0; tap < a.map.num_taps; ++tap) {
      const int64_t* segment = a.map.segments + (block * a.map.num_taps + tap) * 2;
      if (segment[0] == segment[1]) continue;
      over_panels<T>(a.out_channels, [&]<class S, int V>(const Panel& panel) {
        const T* weight = packed + tap * tap_size + panel.first * a.in_channels;
        conv_panel<S, V>(a, segment[0], segment[1], weight, panel);
      });
    }
    if (!a.relu) return;
    T* rows = a.out + begin * a.out_channels;
    // Keeps NaN, as torch.relu does.
    for (int64_t i = 0; i < (end - begin) * a.out_channels; ++i)
      rows[i] = rows[i] < T(0) ? T(0) : rows[i];
  });
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
  return {packed_size<T>, pack<T>, forward<T>, weight_grad<T>};
}

}  // namespace

ConvKernels<float> conv_kernels_f32() { return table<float>(); }
ConvKernels<double> conv_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
