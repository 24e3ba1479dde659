// The arithmetic of `sparse_conv.h` for one instruction set: POINTSEG_ISA names it, the compiler
// flags of this object allow it.
//
// Forward. Weights are packed in panels of `kPanel` output channels, so one panel of one tap is a
// contiguous [in_channels, kPanel] matrix. A tile of kRows pairs keeps its kRows x kPanel outputs
// in registers while the panel streams by: inputs are read in place through row pointers, outputs
// are loaded, updated and stored in place.
//
// Weight gradient. A tile of kRows x kPanel weights stays in registers while the pairs of one tap
// and block stream by as outer products.
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

constexpr int64_t kGradCacheBytes = 256 * 1024;

// Rows of a tile of V vectors: as many as keep the accumulators in registers.
constexpr int tile_rows(int vectors) { return std::min(kRows * kVectors / vectors, 12); }

template <typename Element, int kBytes = kVectorBytes>
struct Simd {
  using T = Element;
  static constexpr int kWidth = kBytes / sizeof(T);
  static constexpr int kPanel = kWidth * kVectors;
  typedef T Vec __attribute__((vector_size(kBytes)));
  typedef T Loose __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));

  static Vec load(const T* p) { return *reinterpret_cast<const Loose*>(p); }
  static void store(T* p, Vec v) { *reinterpret_cast<Loose*>(p) = v; }
};

// Calls fn.template operator()<S, V>() with V = number of vectors S that cover the `valid` channels
// of a panel. Where half a vector is enough, S is that: a whole one would be mostly padding.
template <typename T, class F>
void with_vectors(int64_t valid, const F& fn) {
  using S = Simd<T>;
  const int64_t vectors = (valid + S::kWidth - 1) / S::kWidth;
  if constexpr (kVectors >= 4) {
    if (vectors >= 4) return fn.template operator()<S, 4>();
    if (vectors == 3) return fn.template operator()<S, 3>();
  }
  if (vectors >= 2) return fn.template operator()<S, 2>();
  if (2 * valid > S::kWidth) return fn.template operator()<S, 1>();
  fn.template operator()<Simd<T, kVectorBytes / 2>, 1>();
}

// Channels of a panel with padding, as with_vectors covers them.
template <typename T>
int64_t padded(int64_t valid) {
  constexpr int64_t width = Simd<T>::kWidth;
  return 2 * valid > width ? (valid + width - 1) / width * width : width / 2;
}

template <typename T>
int64_t packed_size(int64_t in_channels, int64_t out_channels) {
  const int64_t rest = out_channels % Simd<T>::kPanel;
  return in_channels * (out_channels - rest + (rest == 0 ? 0 : padded<T>(rest)));
}

template <typename T>
void pack(const T* weight, int64_t num_taps, int64_t in_channels, int64_t out_channels,
          int64_t stride_tap, int64_t stride_in, int64_t stride_out, T* packed,
          const Parallel& parallel) {
  using S = Simd<T>;
  const int64_t size = packed_size<T>(in_channels, out_channels);
  parallel.tasks(num_taps, [&](int64_t tap) {
    T* to = packed + tap * size;
    for (int64_t co0 = 0; co0 < out_channels; co0 += S::kPanel) {
      const int64_t valid = std::min<int64_t>(S::kPanel, out_channels - co0);
      const int64_t panel = padded<T>(valid);
      for (int64_t ci = 0; ci < in_channels; ++ci, to += panel) {
        const T* from = weight + tap * stride_tap + ci * stride_in + co0 * stride_out;
        for (int64_t j = 0; j < valid; ++j) to[j] = from[j * stride_out];
        std::fill(to + valid, to + panel, T(0));
      }
    }
  });
}

template <class S, int R, int V, typename T>
void conv_tile(const T* const* in, T* const* out, const T* panel, int64_t in_channels) {
  typename S::Vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) acc[r][v] = S::load(out[r] + v * S::kWidth);
  for (int64_t ci = 0; ci < in_channels; ++ci, panel += V * S::kWidth) {
    typename S::Vec w[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) w[v] = S::load(panel + v * S::kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] += in[r][ci] * w[v];
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) S::store(out[r] + v * S::kWidth, acc[r][v]);
}

// All pairs of one (block, tap) against one panel. `valid` channels of the panel exist in `out`.
template <class S, int V, typename T>
void conv_panel(const ConvArgs<T>& a, int64_t begin, int64_t end, const T* panel, int64_t co0,
                int64_t valid) {
  constexpr int R = tile_rows(V);
  constexpr int64_t wide = V * S::kWidth;
  alignas(kVectorBytes) T spare[R][wide];
  const T* in[R];
  T* out[R];
  for (int64_t pair = begin; pair < end; pair += R) {
    const int rows = static_cast<int>(std::min<int64_t>(R, end - pair));
    for (int r = 0; r < R; ++r) {
      // Rows past the end repeat the last input and write to a spare row.
      const int64_t p = pair + std::min(r, rows - 1);
      in[r] = a.in + int64_t{a.in_rows[p]} * a.in_channels;
      out[r] = r < rows && valid == wide ? a.out + int64_t{a.out_rows[p]} * a.out_channels + co0
                                         : spare[r];
    }
    if (valid == wide) {
      conv_tile<S, R, V>(in, out, panel, a.in_channels);
      continue;
    }
    for (int r = 0; r < rows; ++r)
      std::memcpy(spare[r], a.out + int64_t{a.out_rows[pair + r]} * a.out_channels + co0,
                  valid * sizeof(T));
    conv_tile<S, R, V>(in, out, panel, a.in_channels);
    for (int r = 0; r < rows; ++r)
      std::memcpy(a.out + int64_t{a.out_rows[pair + r]} * a.out_channels + co0, spare[r],
                  valid * sizeof(T));
  }
}

template <typename T>
void forward(const ConvArgs<T>& a, const T* packed, const Parallel& parallel) {
  using S = Simd<T>;
  const int64_t tap_size = packed_size<T>(a.in_channels, a.out_channels);
  parallel.tasks(a.num_blocks, [&](int64_t block) {
    for (int64_t tap = 0; tap < a.num_taps; ++tap) {
      const int64_t* segment = a.segments + (block * a.num_taps + tap) * 2;
      if (segment[0] == segment[1]) continue;
      for (int64_t co0 = 0; co0 < a.out_channels; co0 += S::kPanel) {
        const int64_t valid = std::min<int64_t>(S::kPanel, a.out_channels - co0);
        const T* panel = packed + tap * tap_size + co0 * a.in_channels;
        with_vectors<T>(valid, [&]<class W, int V>() {
          conv_panel<W, V>(a, segment[0], segment[1], panel, co0, valid);
        });
      }
    }
  });
}

// grad[first + r][co0 ..] += sum over pairs of in[ci0 + r] * grad_out[co0 ..] for the rows r of the
// tile with ci0 + r >= first. Columns past `valid` are neither read nor written.
template <class S, int R, int V, bool kWide, typename T>
void grad_tile(const WeightGradArgs<T>& a, int64_t begin, int64_t end, int64_t ci0, int64_t first,
               int64_t co0, int64_t valid, T* grad) {
  alignas(kVectorBytes) T row[V * S::kWidth] = {};
  typename S::Vec acc[R][V] = {};
  for (int64_t pair = begin; pair < end; ++pair) {
    const T* in = a.in + int64_t{a.in_rows[pair]} * a.in_channels + ci0;
    const T* g = a.grad_out + int64_t{a.out_rows[pair]} * a.out_channels + co0;
    if constexpr (!kWide) g = static_cast<const T*>(std::memcpy(row, g, valid * sizeof(T)));
    typename S::Vec gv[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) gv[v] = S::load(g + v * S::kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) acc[r][v] += in[r] * gv[v];
  }
  for (int r = static_cast<int>(first - ci0); r < R; ++r) {
    T* to = grad + (ci0 + r) * a.out_channels + co0;
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) S::store(row + v * S::kWidth, acc[r][v]);
    for (int64_t j = 0; j < valid; ++j) to[j] += row[j];
  }
}

// All tiles of one (block, tap) and panel. The last tile of R rows may reach back over rows that
// are done; fewer than R input channels go one by one.
template <class S, int V, bool kWide, typename T>
void grad_panel(const WeightGradArgs<T>& a, int64_t begin, int64_t end, int64_t co0, int64_t valid,
                T* grad) {
  constexpr int R = tile_rows(V);
  int64_t first = 0;
  for (; first + R <= a.in_channels; first += R)
    grad_tile<S, R, V, kWide>(a, begin, end, first, first, co0, valid, grad);
  if (first == a.in_channels) return;
  if (a.in_channels >= R) {
    grad_tile<S, R, V, kWide>(a, begin, end, a.in_channels - R, first, co0, valid, grad);
    return;
  }
  for (; first < a.in_channels; ++first)
    grad_tile<S, 1, V, kWide>(a, begin, end, first, first, co0, valid, grad);
}

template <typename T>
void weight_grad(const WeightGradArgs<T>& a, const Parallel& parallel) {
  using S = Simd<T>;
  // Every tile of a tap reads the rows of its pairs again: as many pairs at a time as stay near.
  const auto row_bytes = static_cast<int64_t>((a.in_channels + a.out_channels) * sizeof(T));
  const int64_t chunk = std::max<int64_t>(64, kGradCacheBytes / std::max<int64_t>(row_bytes, 1));
  // A task owns the weights of one tap and walks all blocks in order, so every sum has one order.
  parallel.tasks(a.num_taps, [&](int64_t tap) {
    T* grad = a.grad_weight + tap * a.in_channels * a.out_channels;
    std::fill(grad, grad + a.in_channels * a.out_channels, T(0));
    for (int64_t block = 0; block < a.num_blocks; ++block) {
      const int64_t* segment = a.segments + (block * a.num_taps + tap) * 2;
      for (int64_t begin = segment[0]; begin < segment[1]; begin += chunk) {
        const int64_t end = std::min(begin + chunk, segment[1]);
        for (int64_t co0 = 0; co0 < a.out_channels; co0 += S::kPanel) {
          const int64_t valid = std::min<int64_t>(S::kPanel, a.out_channels - co0);
          with_vectors<T>(valid, [&]<class W, int V>() {
            if (valid == V * W::kWidth)
              grad_panel<W, V, true>(a, begin, end, co0, valid, grad);
            else
              grad_panel<W, V, false>(a, begin, end, co0, valid, grad);
          });
        }
      }
    }
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
