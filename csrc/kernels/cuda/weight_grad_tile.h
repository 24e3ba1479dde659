// A tile of the gradient of one tap's weights: kTile input channels by kTile output channels,
// summed in registers by tensor cores over the pairs of one slice of blocks.
//
// The pairs are what is summed over, so both factors are read turned: a step copies the rows of a
// few pairs, the input's and the gradient's, to shared memory, where matrices are loaded column by
// column. While a step is multiplied the next three are on their way, and the row numbers of the
// one after them are being read. Steps do not cross groups; what a group leaves of its last step is
// zeros. Bound by gathers from L2: each tile reads its part of two rows for every pair.
#pragma once

#include "conv_weight_grad.h"
#include "executor.h"

namespace pointseg::cuda {

// Blocks: taps x slices x tiles of input channels x tiles of output channels, the last fastest.
template <typename T, int kTile>
struct WeightGradTile {
  static constexpr int kWarps = kTile < 128 ? 4 : 8;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kBlocksPerSm = 16 / kWarps;

  ConvWeightGradArgs<T> args;
  bool in_pieces, grad_pieces;  // whether rows of the input and of the gradient are whole pieces

  static constexpr int kStepPairs = 4 * kPiece<T>;
  static constexpr int kStages = 4;
  static constexpr int kAcross = kTile / kPiece<T>;
  static constexpr int kCopies = kStepPairs * kAcross / kThreads;  // of each factor, by a thread
  static_assert(kStepPairs * kAcross % kThreads == 0 && kThreads % kAcross == 0);
  static constexpr int kDepth = 2 * kPiece<T>;  // of one product of tensor cores

  // Two rows of warps share the tile; each warp has so many sums of 16 x 8.
  static constexpr int kWarpRows = kTile / 2, kWarpColumns = kTile / (kWarps / 2);
  static constexpr int kHigh = kWarpRows / 16, kWide = kWarpColumns / 8;
  using Sums = float[kHigh][kWide][4];

  // Rows are longer than they need be, so that what a warp loads at once lies in different banks.
  struct Stage {
    T in[kStepPairs][kTile + 8];
    T grad[kStepPairs][kTile + 8];
  };
  struct Shared {
    Stage stages[kStages];
  };

  // The steps of one tap through the blocks of a slice.
  struct Steps {
    const int64_t* segment;  // of the tap, in the current block
    const int64_t* last;     // the same of the block after the slice
    int64_t stride;          // to the next block
    int64_t pair, end;       // the next step's first pair, and where its group ends

    POINTSEG_HD void find_pairs() {
      for (; pair >= end && segment != last; segment += stride) {
        pair = segment[0];
        end = segment[1];
      }
    }
    POINTSEG_HD bool more() const { return pair < end; }
  };

  // Of a thread's copies in a step; -1: zeros.
  struct Rows {
    int32_t in[kCopies], grad[kCopies];
  };

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t in_tiles = num_blocks_for(args.in_channels, kTile);
    const int64_t out_tiles = num_blocks_for(args.out_channels, kTile);
    const int64_t tile = t.block() % (in_tiles * out_tiles);
    const int64_t slice = t.block() / (in_tiles * out_tiles) % args.num_slices;
    const int64_t tap = t.block() / (in_tiles * out_tiles) / args.num_slices;
    const int64_t in_column = tile / out_tiles * kTile, column = tile % out_tiles * kTile;

    Sums sums = {};
    add_pairs(t, shared, tap, slice, in_column, column, sums);
    write(t, tap, slice, in_column, column, sums);
  }

 private:
  template <class Thread>
  POINTSEG_DEVICE void add_pairs(Thread& t, Shared& shared, int64_t tap, int64_t slice,
                                 int64_t in_column, int64_t column, Sums& sums) const {
    const MapPairs& map = args.map;
    const auto segment_of = [&](int64_t block) {
      return map.segments + 2 * (block * map.num_taps + tap);
    };
    Steps steps{segment_of(slice * map.num_blocks / args.num_slices),
                segment_of((slice + 1) * map.num_blocks / args.num_slices), 2 * map.num_taps, 0, 0};
    steps.find_pairs();
    bool more = steps.more();
    Rows rows = next_rows(t, steps);
    int64_t loaded = 0;
    const auto load_next = [&] {
      if (more) {
        Stage& stage = shared.stages[loaded++ % kStages];
        copy(t, stage.in, args.feats, args.in_channels, in_pieces, in_column, rows.in);
        copy(t, stage.grad, args.grad_out, args.out_channels, grad_pieces, column, rows.grad);
        more = steps.more();
        rows = next_rows(t, steps);
      }
      t.commit();  // of nothing, too: wait() counts groups
    };
    for (int stage = 0; stage < kStages - 1; ++stage) load_next();
    for (int64_t used = 0; used < loaded; ++used) {
      t.template wait<kStages - 2>();
      t.sync();  // all copies of this step are there, and the stage of the last one is free
      load_next();
      multiply(t, shared.stages[used % kStages], sums);
    }
  }

  // The row numbers of a step, for which the one after it is found.
  template <class Thread>
  POINTSEG_DEVICE Rows next_rows(Thread& t, Steps& steps) const {
    Rows rows;
    for (int i = 0; i < kCopies; ++i) {
      const int64_t pair = steps.pair + (t.thread() + i * kThreads) / kAcross;
      const bool there = pair < steps.end;
      rows.in[i] = there ? args.map.in_rows[pair] : -1;
      rows.grad[i] = there ? args.map.out_rows[pair] : -1;
    }
    steps.pair += kStepPairs;
    steps.find_pairs();
    return rows;
  }

  // A thread's pieces of the rows of a step, from `first_column` on; zeros beyond the last one.
  template <class Thread>
  POINTSEG_DEVICE void copy(Thread& t, T (&to)[kStepPairs][kTile + 8], const T* from,
                            int64_t channels, bool pieces, int64_t first_column,
                            const int32_t (&rows)[kCopies]) const {
    const int at = t.thread() % kAcross * kPiece<T>;
    const int64_t column = first_column + at;
    for (int i = 0; i < kCopies; ++i) {
      T* piece = &to[(t.thread() + i * kThreads) / kAcross][at];
      const int64_t row = rows[i];
      const bool there = row >= 0 && column < channels;
      const T* start = there ? from + row * channels + column : from;
      if (pieces) {
        t.copy_async(piece, start, there);
      } else {
        for (int c = 0; c < kPiece<T>; ++c)
          piece[c] = there && column + c < channels ? start[c] : T{};
      }
    }
  }

  template <class Thread>
  POINTSEG_DEVICE void multiply(Thread& t, const Stage& stage, Sums& sums) const {
    const int row = t.warp() % 2 * kWarpRows, column = t.warp() / 2 * kWarpColumns;
    for (int pair = 0; pair < kStepPairs; pair += kDepth) {
      uint32_t a[kHigh][4];
      for (int i = 0; i < kHigh; ++i) load_in(t, stage, pair, row + 16 * i, a[i]);
      for (int j = 0; j < kWide; j += 2) {
        uint32_t b[2][2];
        load_grad(t, stage, pair, column + 8 * j, b);
        for (int i = 0; i < kHigh; ++i) {
          t.template multiply<Factor<T>>(sums[i][j], a[i], b[0]);
          t.template multiply<Factor<T>>(sums[i][j + 1], a[i], b[1]);
        }
      }
    }
  }

  // Sixteen channels of the input by the pairs of one product.
  template <class Thread>
  POINTSEG_DEVICE void load_in(Thread& t, const Stage& stage, int pair, int channel,
                               uint32_t (&a)[4]) const {
    if constexpr (std::is_same_v<T, float>) {
      for (int i = 0; i < 4; ++i)
        a[i] = tf32_bits(
            stage.in[pair + i / 2 * 4 + t.lane() % 4][channel + i % 2 * 8 + t.lane() / 4]);
    } else {
      t.load_matrices_turned(
          a, &stage.in[pair + t.lane() / 16 * 8 + t.lane() % 8][channel + t.lane() / 8 % 2 * 8]);
    }
  }

  // The pairs of one product by eight channels of the gradient, and by the eight after them.
  template <class Thread>
  POINTSEG_DEVICE void load_grad(Thread& t, const Stage& stage, int pair, int channel,
                                 uint32_t (&b)[2][2]) const {
    if constexpr (std::is_same_v<T, float>) {
      for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 2; ++i)
          b[j][i] =
              tf32_bits(stage.grad[pair + 4 * i + t.lane() % 4][channel + 8 * j + t.lane() / 4]);
    } else {
      uint32_t all[4];
      t.load_matrices_turned(all, &stage.grad[pair + t.lane() % 16][channel + t.lane() / 16 * 8]);
      for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 2; ++i) b[j][i] = all[2 * j + i];
    }
  }

  template <class Thread>
  POINTSEG_DEVICE void write(Thread& t, int64_t tap, int64_t slice, int64_t in_column,
                             int64_t column, const Sums& sums) const {
    const int64_t first_row = in_column + t.warp() % 2 * kWarpRows + t.lane() / 4;
    const int64_t first = column + t.warp() / 2 * kWarpColumns + 2 * (t.lane() % 4);
    float* part =
        args.parts + (slice * args.map.num_taps + tap) * args.in_channels * args.out_channels;
    for (int i = 0; i < kHigh; ++i)
      for (int j = 0; j < kWide; ++j)
        for (int e = 0; e < 4; ++e) {
          const int64_t row = first_row + 16 * i + e / 2 * 8, c = first + 8 * j + e % 2;
          if (row < args.in_channels && c < args.out_channels)
            part[row * args.out_channels + c] = sums[i][j][e];
        }
  }
};

}  // namespace pointseg::cuda
