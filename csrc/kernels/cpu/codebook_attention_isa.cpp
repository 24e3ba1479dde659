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
  const T* choice;
  const T* end;  // of the whole array
  const int32_t* head_of;
  int64_t heads;
  int64_t num_entries;

  SpreadChoice(const AttentionArgs<T>& a, int64_t first)
      : choice(a.choice),
        end(a.choice + a.lists.num_rows * a.lists.num_entries * a.heads),
        head_of(a.head_of + first),
        heads(a.heads),
        num_entries(a.lists.num_entries) {}

  __attribute__((always_inline)) bool any(int64_t row, int64_t entry) const {
    const T* of_heads = choice + (row * num_entries + entry) * heads;
    for (int32_t head = head_of[0]; head <= head_of[Lanes::kCount - 1]; ++head)
      if (of_heads[head] != T(0)) return true;
    return false;
  }

  __attribute__((always_inline)) Lanes operator()(int64_t row, int64_t entry) const {
    const T* of_heads = choice + (row * num_entries + entry) * heads;
    Lanes lanes;
    if constexpr (kCanShuffle) {
      constexpr int width = sizeof(typename Lanes::Vec) / sizeof(T);
      // One load holds the choices of all heads, if there are not more of them than lanes; it may
      // read on into the next entry, but not past the array.
      if (heads <= width && of_heads + width <= end) {
        typedef int32_t Index __attribute__((vector_size(sizeof(typename Lanes::Vec))));
        typedef int32_t LooseIndex
            __attribute__((vector_size(sizeof(typename Lanes::Vec)), aligned(4), may_alias));
        const typename Lanes::Vec all = *reinterpret_cast<const typename Lanes::Loose*>(of_heads);
#pragma GCC unroll 16
        for (int i = 0; i < Lanes::kCount / width; ++i) {
          const Index index = *reinterpret_cast<const LooseIndex*>(head_of + i * width);
          lanes.v[i] = __builtin_shuffle(all, index);
        }
        return lanes;
      }
    }
    T spread[Lanes::kCount];
    for (int i = 0; i < Lanes::kCount; ++i) spread[i] = of_heads[head_of[i]];
    return Lanes::load(spread);
  }

#if defined(__AVX2__) && defined(__GNUC__) && !defined(__clang__)
  static constexpr bool kCanShuffle =
      sizeof(T) == sizeof(int32_t) && sizeof(typename Lanes::Vec) >= 32;
#else
  static constexpr bool kCanShuffle = false;
#endif
};

// Where most choices are zero, few channels at a time let more of the work be skipped.
template <typename T>
int vectors_at_a_time(const AttentionArgs<T>& a) {
  const int64_t size = a.lists.num_rows * a.lists.num_entries * a.heads;
  const int64_t zeros = std::count(a.choice, a.choice + size, T(0));
  return 2 * zeros >= size ? 1 : kMaxVectors;
}

template <typename T>
void forward(const AttentionArgs<T>& a, T* out, const Parallel& parallel) {
  const int vectors = vectors_at_a_time(a);
  over_rows(a.lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(a.channels, vectors, [&]<class L>(int64_t first) {
      const SpreadChoice<L, T> choice(a, first);
      for (int64_t row = begin; row < end; ++row)
        attend<L>(a.lists, row, a.values + first, a.weight + first, a.channels, choice)
            .store(out + row * a.channels + first);
    });
  });
}

template <typename T>
void values_grad(const AttentionArgs<T>& a, const T* grad_out, T* grad_values,
                 const Parallel& parallel) {
  const int vectors = vectors_at_a_time(a);
  over_rows(a.lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(a.channels, vectors, [&]<class L>(int64_t first) {
      const SpreadChoice<L, T> choice(a, first);
      for (int64_t row = begin; row < end; ++row)
        attend_values_grad<L>(a.lists, row, grad_out + first, a.weight + first, a.channels, choice)
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
                        T* grad_weight, T* buffers, T* row_buffers, const Parallel& parallel) {
  const int64_t size = a.num_weight_rows * a.channels;
  over_slices(a.lists.num_rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    T* sums = buffers + slice * size;
    std::fill(sums, sums + size, T(0));
    T* products = row_buffers + slice * a.lists.num_entries * a.channels;
    for (int64_t row = begin; row < end; ++row) {
      over_lanes<T>(a.channels, kMaxVectors, [&]<class L>(int64_t first) {
        const SpreadChoice<L, T> choice(a, first);
        attend_choice_weight_grad<L>(a.lists, row, a.values + first, a.weight + first,
                                     grad_out + first, a.channels, choice, sums + first,
                                     [&](int64_t entry, const L& product) {
                                       product.store(products + entry * a.channels + first);
                                     });
      });
      sum_heads(products, a, grad_choice + row * a.lists.num_entries * a.heads);
    }
  });
  add_slices(buffers, num_slices(a.lists.num_rows), size, grad_weight);
}

template <typename T>
AttentionKernels<T> table() {
  return {forward<T>, values_grad<T>, choice_weight_grad<T>};
}

}  // namespace

AttentionKernels<float> attention_kernels_f32() { return table<float>(); }
AttentionKernels<double> attention_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
