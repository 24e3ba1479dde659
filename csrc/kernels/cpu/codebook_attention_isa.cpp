// The arithmetic of `codebook_attention.h` for the instruction set POINTSEG_ISA.
#include "codebook_attention.h"

#include <algorithm>

#include "lanes.h"
#include "row_slices.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

// choice(row, entry) for the channels of `Lanes` that begin at `first`.
template <class Lanes, typename T>
struct SpreadChoice {
#if defined(__AVX2__) && defined(__GNUC__) && !defined(__clang__)
  static constexpr bool kCanShuffle =
      sizeof(T) == sizeof(int32_t) && sizeof(typename Lanes::Vec) >= 32;
#else
  static constexpr bool kCanShuffle = false;
#endif
  static constexpr int kWidth = sizeof(typename Lanes::Vec) / sizeof(T);
  static constexpr int kVectors = Lanes::kCount / kWidth;
  typedef int32_t Index __attribute__((vector_size(kWidth * sizeof(int32_t))));
  typedef int32_t LooseIndex
      __attribute__((vector_size(kWidth * sizeof(int32_t)), aligned(4), may_alias));

  const T* choice;
  int64_t loadable;  // the last element from which a whole vector can be read, or less than 0
  const int32_t* head_of;
  int64_t heads;
  int64_t num_entries;
  bool sparse;
  Index index[kVectors];

  SpreadChoice(const AttentionArgs<T>& a, int64_t first, bool sparse_choice)
      : choice(a.choice),
        loadable(a.lists.num_rows * a.lists.num_entries * a.heads - kWidth),
        head_of(a.head_of + first),
        heads(a.heads),
        num_entries(a.lists.num_entries),
        sparse(sparse_choice) {
    if constexpr (kCanShuffle)
      for (int i = 0; i < kVectors; ++i)
        index[i] = *reinterpret_cast<const LooseIndex*>(head_of + i * kWidth);
    // One load holds the choices of all heads, if there are not more of them than lanes.
    if (heads > kWidth) loadable = -1;
  }

  __attribute__((always_inline)) bool any(int64_t row, int64_t entry) const {
    if (!sparse) return true;
    const T* of_heads = choice + (row * num_entries + entry) * heads;
    for (int32_t head = head_of[0]; head <= head_of[Lanes::kCount - 1]; ++head)
      if (of_heads[head] != T(0)) return true;
    return false;
  }

  __attribute__((always_inline)) Lanes operator()(int64_t row, int64_t entry) const {
    const int64_t place = (row * num_entries + entry) * heads;
    const T* of_heads = choice + place;
    Lanes lanes;
    if constexpr (kCanShuffle) {
      if (place <= loadable) {
        const typename Lanes::Vec all = *reinterpret_cast<const typename Lanes::Loose*>(of_heads);
#pragma GCC unroll 16
        for (int i = 0; i < kVectors; ++i) lanes.v[i] = __builtin_shuffle(all, index[i]);
        return lanes;
      }
    }
    T spread[Lanes::kCount];
    for (int i = 0; i < Lanes::kCount; ++i) spread[i] = of_heads[head_of[i]];
    return Lanes::load(spread);
  }
};

// Whether there are entries to skip at all; looking for them costs a load a pair.
template <typename T>
bool has_zeros(const AttentionArgs<T>& a) {
  const T* end = a.choice + a.lists.num_rows * a.lists.num_entries * a.heads;
  return std::find(a.choice, end, T(0)) != end;
}

template <typename T>
void forward(const AttentionArgs<T>& a, T* packed, T* out, const Parallel& parallel) {
  const bool sparse = has_zeros(a);
  pack_rows(a.weight, a.num_weight_rows, a.channels, packed);
  over_rows(a.lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(a.channels, [&]<class L>(int64_t first) {
      const SpreadChoice<L, T> choice(a, first, sparse);
      for (int64_t row = begin; row < end; ++row)
        attend<L>(a.lists, row, a.values + first, a.channels, packed + first * a.num_weight_rows,
                  L::kCount, choice)
            .store(out + row * a.channels + first);
    });
  });
}

template <typename T>
void values_grad(const AttentionArgs<T>& a, const T* grad_out, T* packed, T* grad_values,
                 const Parallel& parallel) {
  const bool sparse = has_zeros(a);
  pack_rows(a.weight, a.num_weight_rows, a.channels, packed);
  over_rows(a.lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(a.channels, [&]<class L>(int64_t first) {
      const SpreadChoice<L, T> choice(a, first, sparse);
      for (int64_t row = begin; row < end; ++row)
        attend_values_grad<L>(a.lists, row, grad_out + first, a.channels,
                              packed + first * a.num_weight_rows, L::kCount, choice)
            .store(grad_values + row * a.channels + first);
    });
  });
}

// Adds up the channels of each head: products [entries, channels] to grad [entries, heads].
template <typename T>
void sum_heads(const T* products, const AttentionArgs<T>& a, T* grad) {
  const int64_t width = a.channels / a.heads;
  for (int64_t i = 0; i < a.lists.num_entries * a.heads; ++i, products += width) {
    // Four sums at a time: one would wait for every addition.
    T sum[4] = {};
    int64_t c = 0;
    for (; c + 4 <= width; c += 4)
      for (int j = 0; j < 4; ++j) sum[j] += products[c + j];
    for (; c < width; ++c) sum[0] += products[c];
    grad[i] = (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
}

template <typename T>
void choice_weight_grad(const AttentionArgs<T>& a, const T* grad_out, T* grad_choice,
                        T* grad_weight, T* packed, T* buffers, T* row_buffers,
                        const Parallel& parallel) {
  const int64_t size = a.num_weight_rows * a.channels;
  const int64_t row_size = a.lists.num_entries * a.channels;
  const bool sparse = has_zeros(a);
  pack_rows(a.weight, a.num_weight_rows, a.channels, packed);
  over_slices(
      a.lists.num_rows, parallel, [&](int64_t slice, int64_t slice_begin, int64_t slice_end) {
        T* sums = buffers + slice * size;
        std::fill(sums, sums + size, T(0));
        T* products = row_buffers + slice * kTileRows * row_size;
        for (int64_t begin = slice_begin; begin < slice_end; begin += kTileRows) {
          const int64_t end = std::min(begin + kTileRows, slice_end);
          over_lanes<T>(a.channels, [&]<class L>(int64_t first) {
            const SpreadChoice<L, T> choice(a, first, sparse);
            const int64_t piece = first * a.num_weight_rows;
            for (int64_t row = begin; row < end; ++row)
              attend_choice_weight_grad<L>(
                  a.lists, row, a.values + first, grad_out + first, a.channels, packed + piece,
                  L::kCount, choice, sums + piece, [&](int64_t entry, const L& product) {
                    product.store(products + (row - begin) * row_size + entry * a.channels + first);
                  });
          });
          for (int64_t row = begin; row < end; ++row)
            sum_heads(products + (row - begin) * row_size, a,
                      grad_choice + row * a.lists.num_entries * a.heads);
        }
      });
  add_slices(buffers, num_slices(a.lists.num_rows), size, packed);
  unpack_rows(packed, a.num_weight_rows, a.channels, grad_weight);
}

template <typename T>
AttentionKernels<T> table() {
  return {forward<T>, values_grad<T>, choice_weight_grad<T>};
}

}  // namespace

AttentionKernels<float> attention_kernels_f32() { return table<float>(); }
AttentionKernels<double> attention_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
