// Codebook logits on CUDA: see pointseg/ops/codebook_logits.py.
//
// T: float, double, Half or Bfloat16; parameters are Sum<T>. Instantiated in `codebook_logits.cu`.
// The gradient of the scale is made by `tap_sums.h`.
#pragma once

#include "../codebook.h"
#include "numbers.h"
#include "stream.h"

namespace pointseg::cuda {

template <typename T>
struct LogitsArgs {
  const T* rows;        // queries [rows, groups, heads] or gradients [rows, entries, heads]
  const Sum<T>* scale;  // [weight rows, heads]
  RegionLists lists;
  int64_t groups;  // of queries: one per entry, or one for all
  int64_t heads;
  int64_t num_weight_rows;
};

// Writes logits [rows, entries, heads].
template <typename T>
Status codebook_logits(const LogitsArgs<T>& args, T* logits, Stream stream);

// The rows are those of grad_logits, and the lists hold the table of mirrored weight rows. Writes
// grad_queries [rows, groups, heads].
template <typename T>
Status codebook_logits_queries_grad(const LogitsArgs<T>& args, T* grad_queries, Stream stream);

}  // namespace pointseg::cuda
