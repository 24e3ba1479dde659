// Codebook logits: logits[n, d] = sum_{k in region d} scale[k] * queries[neighbor(n, k), d], per
// head.
#pragma once

#include <cstdint>

#include "../codebook.h"
#include "../parallel.h"

namespace pointseg::cpu {

template <typename T>
struct LogitsArgs {
  const T* queries;  // [rows, groups, heads]; groups: one per entry, or one for all
  const T* scale;    // [weight rows, heads]
  RegionLists lists;
  int64_t groups;
  int64_t heads;
  int64_t num_weight_rows;
};

template <typename T>
struct LogitsKernels {
  // Writes logits [rows, entries, heads].
  void (*forward)(const LogitsArgs<T>& args, T* logits, const Parallel& parallel);
  // Writes grad_queries [rows, groups, heads]; the lists hold the table of mirrored weight rows.
  void (*queries_grad)(const LogitsArgs<T>& args, const T* grad_logits, T* grad_queries,
                       const Parallel& parallel);
  // Writes grad_scale [weight rows, heads]; `buffers` [slices of the rows, weight rows, heads] is
  // scratch.
  void (*scale_grad)(const LogitsArgs<T>& args, const T* grad_logits, T* grad_scale, T* buffers,
                     const Parallel& parallel);
};

template <typename T>
const LogitsKernels<T>& logits_kernels();

}  // namespace pointseg::cpu
