// Codebook attention: out[n] = sum_d choice[n, d, head] * sum_{k in region d} weight[k] *
// values[neighbor(n, k)], all entries and taps of a voxel in one pass.
#pragma once

#include <cstdint>

#include "../codebook.h"
#include "../parallel.h"

namespace pointseg::cpu {

template <typename T>
struct AttentionArgs {
  const T* values;         // [rows, channels]
  const T* choice;         // [rows, entries, heads]
  const T* weight;         // [weight rows, channels]
  const int32_t* head_of;  // [channels]
  RegionLists lists;
  int64_t channels;
  int64_t heads;
  int64_t num_weight_rows;
};

// Rows that are taken through all channels before the next: enough to use the weights of some
// channels again while they are in cache.
constexpr int64_t kTileRows = 8;

// `packed` [weight rows, channels] is scratch of all of them.
template <typename T>
struct AttentionKernels {
  // Writes out [rows, channels].
  void (*forward)(const AttentionArgs<T>& args, T* packed, T* out, const Parallel& parallel);
  // Writes grad_values [rows, channels]; the lists hold the table of mirrored weight rows.
  void (*values_grad)(const AttentionArgs<T>& args, const T* grad_out, T* packed, T* grad_values,
                      const Parallel& parallel);
  // Writes grad_choice [rows, entries, heads] and grad_weight [weight rows, channels]. `buffers`
  // [slices of the rows, weight rows, channels] is scratch, and so is `row_buffers` [slices,
  // kTileRows, entries, channels].
  void (*choice_weight_grad)(const AttentionArgs<T>& args, const T* grad_out, T* grad_choice,
                             T* grad_weight, T* packed, T* buffers, T* row_buffers,
                             const Parallel& parallel);
};

template <typename T>
const AttentionKernels<T>& attention_kernels();

}  // namespace pointseg::cpu
