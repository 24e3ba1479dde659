// The forward loop of `sparse_conv.h` around the tile that does the products, for the instruction
// set POINTSEG_ISA. Only files compiled for one set may include it.
//
// Output channels are cut into panels of up to kVectors vectors. Where the last vector of a row
// would reach past its end, it is moved back over the one before: lanes that two vectors share hold
// the same sum twice, so storing both is right. Rows shorter than one vector go through a spare
// row.
//
// Weights are packed panel by panel, so one panel of one tap is a contiguous matrix. A tile of
// pairs keeps its rows x panel outputs in registers while the panel streams by: inputs are read in
// place through row pointers, outputs are loaded, updated and stored in place.
#pragma once

#include <algorithm>
#include <cstring>

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
constexpr int64_t kLineBytes = 64;
// Neighbours lie anywhere, so no hardware guesses the next row. Of long rows it guesses the rest.
constexpr int64_t kPrefetchBytes = 8 * kLineBytes;

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

// Packs the weights of all taps for panels of sums T: `kDepth` input channels side by side in every
// lane, of which `in_channels` is a multiple.
template <typename T, int kDepth, typename W>
void pack_panels(const W* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
                 int64_t stride_tap, int64_t stride_in, int64_t stride_out, W* packed,
                 const Parallel& parallel) {
  const int64_t size = packed_size<T>(in_channels, out_channels);
  parallel.tasks(num_taps, [&](int64_t tap) {
    W* to = packed + tap * size;
    over_panels<T>(out_channels, [&]<class S, int V>(const Panel& panel) {
      for (int64_t ci = 0; ci < in_channels; ci += kDepth)
        for (int v = 0; v < V; ++v, to += kDepth * S::kWidth) {
          const int64_t at = place<S, V>(v, panel.last);
          const W* from =
              weight + tap * stride_tap + ci * stride_in + (panel.first + at) * stride_out;
          const int64_t there = kDepth * std::min<int64_t>(S::kWidth, panel.valid - at);
          for (int64_t j = 0; j < there; ++j)
            to[j] = from[j % kDepth * stride_in + j / kDepth * stride_out];
          std::fill(to + there, to + kDepth * S::kWidth, W(0));
        }
    });
  });
}

// All pairs of one (block, tap) against one panel.
template <class Tile, class S, int V, typename T, typename In>
void conv_panel(const ConvArgs<T, In>& a, int64_t begin, int64_t end, const In* weight,
                const Panel& panel) {
  constexpr int R = tile_rows(V);
  const bool narrow = panel.valid < S::kWidth;
  const int64_t row_bytes = std::min<int64_t>(a.in_channels * sizeof(In), kPrefetchBytes);
  alignas(kVectorBytes) T spare[R][V * S::kWidth];
  const In* in[R];
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
    Tile::template run<S, R, V>(in, out, panel.last, weight, a.in_channels);
    if (narrow)
      for (int r = 0; r < rows; ++r)
        std::memcpy(a.out + int64_t{a.map.out_rows[pair + r]} * a.out_channels, spare[r],
                    panel.valid * sizeof(T));
  }
}

// What the sums of rows [begin, end) start from.
template <typename T, typename In>
void begin_rows(const ConvArgs<T, In>& a, int64_t begin, int64_t end) {
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

// Tile::run<S, R, V>(in, out, last, weight, in_channels) adds the products of R rows.
template <class Tile, typename T, typename In>
void convolve(const ConvArgs<T, In>& a, const In* packed, const Parallel& parallel) {
  const int64_t tap_size = packed_size<T>(a.in_channels, a.out_channels);
  parallel.tasks(num_blocks(a.num_out), [&](int64_t block) {
    const int64_t begin = block * kBlockRows, end = std::min(begin + kBlockRows, a.num_out);
    begin_rows(a, begin, end);
    for (int64_t tap = 0; tap < a.map.num_taps; ++tap) {
      const int64_t* segment = a.map.segments + (block * a.map.num_taps + tap) * 2;
      if (segment[0] == segment[1]) continue;
      over_panels<T>(a.out_channels, [&]<class S, int V>(const Panel& panel) {
        const In* weight = packed + tap * tap_size + panel.first * a.in_channels;
        conv_panel<Tile, S, V>(a, segment[0], segment[1], weight, panel);
      });
    }
    if (!a.relu) return;
    T* rows = a.out + begin * a.out_channels;
    // Keeps NaN, as torch.relu does.
    for (int64_t i = 0; i < (end - begin) * a.out_channels; ++i)
      rows[i] = rows[i] < T(0) ? T(0) : rows[i];
  });
}

}  // namespace
}  // namespace pointseg::cpu::POINTSEG_ISA
