// Codebook attention per voxel: what the CPU and CUDA loops share.
//
// The bodies are templates over `Lanes`, the channels (or heads) that one call works on: SIMD
// vectors on the CPU, a few scalars of a thread on the GPU. Lanes has
//   Lanes::zero()        Lanes::load(const T*)        lanes.store(T*)
//   lanes.add_product(a, b): lanes += a * b           product(a, b)
// `Weight` is where the lanes of the first row of weights are: a pointer, or what else lanes are
// loaded from and a row's offset is added to. It need not be of the type of the values.
// `Choice` is a callable, choice(row, entry) -> Lanes: the choice of each lane's head, with
// choice.any(row, entry): whether one of these heads has chosen the entry at all.
#pragma once

#include "packing.h"
#include "row_lists.h"

namespace pointseg {

// For every voxel its occupied taps, entry by entry and in tap order, as one run of the lists. A
// run serves both directions: seen from the input, the tap of a pair is the mirrored one. Which row
// of the packed weights a listed tap has is a table, one for each direction; -1: none, the tap is
// not of the region.
struct RegionLists : RowLists {
  const int32_t* weight_rows;  // [listed taps]
  const int32_t* entry_ends;   // [entries] one past the last listed tap of an entry
  int64_t num_entries;
};

// visit(weight_row, neighbor) for the pairs of one entry from `pair` on; returns the first pair of
// the next entry.
template <class Visit>
POINTSEG_HD int64_t visit_entry(const RegionLists& lists, int64_t entry, int64_t pair, int64_t end,
                                const Visit& visit) {
  for (; pair < end && lists.taps[pair] < lists.entry_ends[entry]; ++pair) {
    const int32_t weight_row = lists.weight_rows[lists.taps[pair]];
    if (weight_row >= 0) visit(int64_t{weight_row}, int64_t{lists.neighbors[pair]});
  }
  return pair;
}

// sum_d choice(row, d) * sum_k weight[k] * values[neighbor], one output voxel. An entry that no
// lane's head has chosen is not read. Rows of the values are `stride` elements apart, those of the
// weight `weight_stride`.
template <class Lanes, typename T, class Weight, class Choice>
POINTSEG_HD Lanes attend(const RegionLists& lists, int64_t row, const T* values, int64_t stride,
                         Weight weight, int64_t weight_stride, const Choice& choice) {
  Lanes total = Lanes::zero();
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry) {
    if (!choice.any(row, entry)) {
      while (pair < end && lists.taps[pair] < lists.entry_ends[entry]) ++pair;
      continue;
    }
    Lanes partial = Lanes::zero();
    pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t neighbor) {
      partial.add_product(Lanes::load(weight + weight_row * weight_stride),
                          Lanes::load(values + neighbor * stride));
    });
    total.add_product(choice(row, entry), partial);
  }
  return total;
}

// Gradient of the values of one voxel: sum over the voxels that read it, with the table of mirrored
// weight rows in `lists`.
template <class Lanes, typename T, class Weight, class Choice>
POINTSEG_HD Lanes attend_values_grad(const RegionLists& lists, int64_t row, const T* grad_out,
                                     int64_t stride, Weight weight, int64_t weight_stride,
                                     const Choice& choice) {
  Lanes total = Lanes::zero();
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry)
    pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t reader) {
      if (!choice.any(reader, entry)) return;
      total.add_product(Lanes::load(weight + weight_row * weight_stride),
                        product(choice(reader, entry), Lanes::load(grad_out + reader * stride)));
    });
  return total;
}

// Recomputes the partial sums of every entry for one voxel: emit(entry, grad_out * partial) is what
// the gradient of its choice adds up from, head by head. Adds the voxel's part to grad_weight, laid
// out like weight, for the entries that are chosen.
template <class Lanes, typename T, class Choice, class Emit>
POINTSEG_HD void attend_choice_weight_grad(const RegionLists& lists, int64_t row, const T* values,
                                           const T* grad_out, int64_t stride, const T* weight,
                                           int64_t weight_stride, const Choice& choice,
                                           T* grad_weight, const Emit& emit) {
  const Lanes grad = Lanes::load(grad_out + row * stride);
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry) {
    Lanes partial = Lanes::zero();
    if (choice.any(row, entry)) {
      const Lanes scaled = product(choice(row, entry), grad);
      pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t neighbor) {
        const Lanes value = Lanes::load(values + neighbor * stride);
        partial.add_product(Lanes::load(weight + weight_row * weight_stride), value);
        T* to = grad_weight + weight_row * weight_stride;
        Lanes sum = Lanes::load(to);
        sum.add_product(scaled, value);
        sum.store(to);
      });
    } else {
      pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t neighbor) {
        partial.add_product(Lanes::load(weight + weight_row * weight_stride),
                            Lanes::load(values + neighbor * stride));
      });
    }
    emit(entry, product(grad, partial));
  }
}

// The gradient of one voxel's choice for one head: emit(entry, lanes), what some of the head's
// channels add to it, namely those of Lanes at `first`, `first + step` and so on, below `width`.
// Pointers are those of the head's first channel, and weight_at(channel) is where its weights are.
template <class Lanes, typename T, class WeightAt, class Emit>
POINTSEG_HD void attend_choice_grad(const RegionLists& lists, int64_t row, const T* values,
                                    const T* grad_out, int64_t stride, const WeightAt& weight_at,
                                    int64_t weight_stride, int64_t first, int64_t step,
                                    int64_t width, const Emit& emit) {
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry) {
    Lanes sum = Lanes::zero();
    int64_t next = pair;
    for (int64_t channel = first; channel < width; channel += step) {
      const auto weight = weight_at(channel);
      Lanes partial = Lanes::zero();
      next = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t neighbor) {
        partial.add_product(Lanes::load(weight + weight_row * weight_stride),
                            Lanes::load(values + neighbor * stride + channel));
      });
      sum.add_product(Lanes::load(grad_out + row * stride + channel), partial);
    }
    emit(entry, sum);
    pair = next;
  }
}

// Logits of one voxel: emit(entry, sum_k scale[k] * queries[neighbor, group]) with one group of
// queries per entry, or one for all. scale [., scale_stride], queries [., groups, stride].
template <class Lanes, typename T, class Weight, class Emit>
POINTSEG_HD void correlate(const RegionLists& lists, int64_t row, const T* queries, int64_t groups,
                           int64_t stride, Weight scale, int64_t scale_stride, const Emit& emit) {
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry) {
    const int64_t group = groups == 1 ? 0 : entry;
    Lanes logit = Lanes::zero();
    pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t neighbor) {
      logit.add_product(Lanes::load(scale + weight_row * scale_stride),
                        Lanes::load(queries + (neighbor * groups + group) * stride));
    });
    emit(entry, logit);
  }
}

// Gradient of the queries of one voxel: emit(entry, sum), with the table of mirrored weight rows in
// `lists`. grad_logits [., entries, stride].
template <class Lanes, typename T, class Weight, class Emit>
POINTSEG_HD void correlate_queries_grad(const RegionLists& lists, int64_t row, const T* grad_logits,
                                        int64_t stride, Weight scale, int64_t scale_stride,
                                        const Emit& emit) {
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry) {
    Lanes sum = Lanes::zero();
    pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t reader) {
      sum.add_product(Lanes::load(scale + weight_row * scale_stride),
                      Lanes::load(grad_logits + (reader * lists.num_entries + entry) * stride));
    });
    emit(entry, sum);
  }
}

// Adds one voxel's part to grad_scale [., stride].
template <class Lanes, typename T>
POINTSEG_HD void correlate_scale_grad(const RegionLists& lists, int64_t row, const T* queries,
                                      int64_t groups, const T* grad_logits, int64_t stride,
                                      T* grad_scale) {
  int64_t pair = lists.row_starts[row];
  const int64_t end = lists.row_starts[row + 1];
  for (int64_t entry = 0; entry < lists.num_entries; ++entry) {
    const int64_t group = groups == 1 ? 0 : entry;
    const Lanes grad = Lanes::load(grad_logits + (row * lists.num_entries + entry) * stride);
    pair = visit_entry(lists, entry, pair, end, [&](int64_t weight_row, int64_t neighbor) {
      T* to = grad_scale + weight_row * stride;
      Lanes sum = Lanes::load(to);
      sum.add_product(grad, Lanes::load(queries + (neighbor * groups + group) * stride));
      sum.store(to);
    });
  }
}

}  // namespace pointseg
