// Kernels whose threads gather rows and multiply them by weights [weight rows, channels] that a
// block keeps in shared memory. The second dimension of the grid cuts the channels into slices, so
// that the weights of a slice fit. Those of a unit that must not be cut, and do not fit, are read
// where they are.
#pragma once

#include <algorithm>

#include "lanes.h"

namespace pointseg::cuda {

constexpr int kRowThreads = 256;

// How channels and rows are cut. A unit is what must not be cut: some vectors of V channels.
struct RowPlan {
  int64_t vectors;        // of all channels
  int64_t slice_vectors;  // of a slice, but for the last one
  int64_t slices;
  int64_t rows_of_block;
  int64_t blocks;
  bool staged;
};

// Slices of about equal size, and blocks that do enough rows to be worth the loading of weights but
// are enough to fill a GPU.
inline RowPlan plan_rows(int64_t num_rows, int64_t weight_rows, int64_t unit_vectors,
                         int64_t num_units, int64_t vector_bytes) {
  RowPlan plan{};
  plan.vectors = unit_vectors * num_units;
  if (num_rows <= 0 || plan.vectors <= 0) return plan;
  const int64_t unit_bytes = std::max<int64_t>(weight_rows, 1) * unit_vectors * vector_bytes;
  plan.staged = unit_bytes <= kStagedBytes;
  // A slice has no more units than fit, and than the block has threads for.
  const int64_t fitting = plan.staged ? kStagedBytes / unit_bytes : num_units;
  const int64_t served = std::max<int64_t>(kRowThreads / unit_vectors, 1);
  plan.slices = num_blocks_for(num_units, std::min(fitting, served));
  plan.slice_vectors = num_blocks_for(num_units, plan.slices) * unit_vectors;
  constexpr int64_t kBlocks = 2048, kMostRows = 512;
  plan.rows_of_block =
      std::clamp(num_blocks_for(num_rows * plan.slices, kBlocks),
                 std::min(num_blocks_for(kRowThreads, plan.slice_vectors), kMostRows), kMostRows);
  plan.blocks = num_blocks_for(num_rows, plan.rows_of_block);
  return plan;
}

// The weights of a block's slice, as its threads load them.
template <typename S, int V>
struct SliceWeights {
  static constexpr int kPiece = WeightLanes<S, V>::kPiece;

  const S* first;
  int64_t row_stride;
  int64_t vector_step;
  int64_t piece_step;

  POINTSEG_DEVICE WeightLanes<S, V> at(int64_t vector) const {
    return {first + vector * vector_step, piece_step};
  }
};

// What a block shares. Lanes that read the pieces of neighbouring vectors find them side by side:
// [weight rows, pieces of a vector, vectors of the slice, elements of a piece].
template <typename S>
struct alignas(16) StagedWeights {
  S weight[kStagedBytes / sizeof(S)];
};

// The part of `weight` that begins at vector `first_vector`; ends with a barrier. `kFits`: it is
// known to fit, so that the compiler knows which memory it is in.
template <int V, bool kFits, typename S, class Thread>
POINTSEG_DEVICE SliceWeights<S, V> stage(Thread& t, const S* weight, int64_t weight_rows,
                                         const RowPlan& plan, int64_t first_vector,
                                         int64_t vectors) {
  constexpr int kPiece = WeightLanes<S, V>::kPiece;
  const int64_t channels = plan.vectors * V;
  if (!kFits && !plan.staged) return {weight + first_vector * V, channels, V, kPiece};
  S* staged = t.template shared<StagedWeights<S>>().weight;
  const int width = static_cast<int>(vectors) * V;
  const int size = static_cast<int>(weight_rows) * width;
  for (int i = t.thread(); i < size; i += kRowThreads) {
    const int row = i / width, c = i % width;
    const int place = (c % V / kPiece * static_cast<int>(vectors) + c / V) * kPiece + c % kPiece;
    staged[row * width + place] = weight[row * channels + first_vector * V + c];
  }
  t.sync();
  return {staged, width, kPiece, vectors * kPiece};
}

// One thread for every row and every vector of V channels: op(row, vector, weights), with the
// vector's number and its weights.
template <class Op>
struct OverRows {
  static constexpr int kThreads = kRowThreads;
  static constexpr int kBlocksPerSm = 4;
  static constexpr int V = Op::kLanes;
  using S = typename Op::S;
  using Shared = StagedWeights<S>;

  Op op;
  const S* weight;
  int64_t weight_rows;
  int64_t num_rows;
  RowPlan plan;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t first_vector = t.part() * plan.slice_vectors;
    const auto vectors =
        static_cast<int>(std::min(plan.slice_vectors, plan.vectors - first_vector));
    const SliceWeights<S, V> weights =
        stage<V, (V > 1)>(t, weight, weight_rows, plan, first_vector, vectors);
    const int64_t first_row = t.block() * plan.rows_of_block;
    const auto rows = static_cast<int>(std::min(plan.rows_of_block, num_rows - first_row));
    for (int i = t.thread(); i < rows * vectors; i += kThreads) {
      const int vector = i % vectors;
      op(first_row + i / vectors, first_vector + vector, weights.at(vector), weights.row_stride);
    }
  }
};

// The lanes of the op have been chosen by `with_lanes`, with these weight rows to be kept.
template <class Op>
Status launch_over_rows(const Op& op, const typename Op::S* weight, int64_t weight_rows,
                        int64_t channels, int64_t num_rows, Stream stream) {
  const RowPlan plan =
      plan_rows(num_rows, weight_rows, 1, channels / Op::kLanes, Op::kLanes * sizeof(*weight));
  return launch(OverRows<Op>{op, weight, weight_rows, num_rows, plan},
                Grid{plan.blocks, plan.slices}, stream);
}

}  // namespace pointseg::cuda
