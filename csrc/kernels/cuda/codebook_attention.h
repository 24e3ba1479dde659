// Codebook attention on CUDA: see pointseg/ops/codebook_attention.py.
//
// T: float, double, Half or Bfloat16; parameters and their gradients are Sum<T>. Instantiated in
// `codebook_attention.cu`. The gradient of the weights is made by `tap_sums.h`.
#pragma once

#include "../codebook.h"
#include "lanes.h"

namespace pointseg::cuda {

template <typename T>
struct AttentionArgs {
  const T* rows;         // values or gradients [rows, channels]
  Choices<T> choice;     // [rows, entries, heads]
  const Sum<T>* weight;  // [weight rows, channels]
  RegionLists lists;
  int64_t channels;
  int64_t num_weight_rows;
};

// Writes out [rows, channels].
template <typename T>
Status codebook_attention(const AttentionArgs<T>& args, T* out, Stream stream);

// The rows are those of grad_out, and the lists hold the table of mirrored weight rows. Writes
// grad_values [rows, channels].
template <typename T>
Status codebook_attention_values_grad(const AttentionArgs<T>& args, T* grad_values, Stream stream);

// Writes grad_choice [rows, entries, heads], of the type of the choice, whose values are not read.
template <typename T>
Status codebook_attention_choice_grad(const AttentionArgs<T>& args, const T* grad_out,
                                      void* grad_choice, Stream stream);

}  // namespace pointseg::cuda
