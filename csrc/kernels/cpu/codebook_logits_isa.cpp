// The arithmetic of `codebook_logits.h` for the instruction set POINTSEG_ISA. Lanes are heads.
#include "codebook_logits.h"

#include <algorithm>

#include "lanes.h"
#include "row_slices.h"

namespace pointseg::cpu::POINTSEG_ISA {
namespace {

template <typename T>
void forward(const LogitsArgs<T>& a, T* logits, const Parallel& parallel) {
  over_rows(a.lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(a.heads, [&]<class L>(int64_t first) {
      for (int64_t row = begin; row < end; ++row)
        correlate<L>(a.lists, row, a.queries + first, a.groups, a.heads, a.scale + first, a.heads,
                     [&](int64_t entry, const L& logit) {
                       logit.store(logits + (row * a.lists.num_entries + entry) * a.heads + first);
                     });
    });
  });
}

template <typename T>
void queries_grad(const LogitsArgs<T>& a, const T* grad_logits, T* grad_queries,
                  const Parallel& parallel) {
  over_rows(a.lists.num_rows, parallel, [&](int64_t begin, int64_t end) {
    over_lanes<T>(a.heads, [&]<class L>(int64_t first) {
      for (int64_t row = begin; row < end; ++row) {
        T* to = grad_queries + row * a.groups * a.heads + first;
        L total = L::zero();
        correlate_queries_grad<L>(a.lists, row, grad_logits + first, a.heads, a.scale + first,
                                  a.heads, [&](int64_t entry, const L& sum) {
                                    if (a.groups != 1)
                                      sum.store(to + entry * a.heads);
                                    else
                                      total.add(sum);
                                  });
        if (a.groups == 1) total.store(to);
      }
    });
  });
}

template <typename T>
void scale_grad(const LogitsArgs<T>& a, const T* grad_logits, T* grad_scale, T* buffers,
                const Parallel& parallel) {
  const int64_t size = a.num_weight_rows * a.heads;
  over_slices(a.lists.num_rows, parallel, [&](int64_t slice, int64_t begin, int64_t end) {
    T* sums = buffers + slice * size;
    std::fill(sums, sums + size, T(0));
    over_lanes<T>(a.heads, [&]<class L>(int64_t first) {
      for (int64_t row = begin; row < end; ++row)
        correlate_scale_grad<L>(a.lists, row, a.queries + first, a.groups, grad_logits + first,
                                a.heads, sums + first);
    });
  });
  add_slices(buffers, num_slices(a.lists.num_rows), size, grad_scale);
}

template <typename T>
LogitsKernels<T> table() {
  return {forward<T>, queries_grad<T>, scale_grad<T>};
}

}  // namespace

LogitsKernels<float> logits_kernels_f32() { return table<float>(); }
LogitsKernels<double> logits_kernels_f64() { return table<double>(); }

}  // namespace pointseg::cpu::POINTSEG_ISA
