// A tile of a fused sparse convolution: 64 output rows of so many columns, summed in registers by
// tensor cores over all taps at which any of the rows has a neighbour.
//
// Rows are copied in pieces of 16 bytes. The pieces of all such taps, one tap after the other, are
// one sequence; a step takes the next four of it, with the rows of the weights that belong to
// them, so that narrow inputs (a stem has one piece) fill a step with several taps. While a step is
// multiplied the next two are on their way. Rows without a neighbour at a tap are copied as zeros.
#pragma once

#include <bit>
#include <cstdint>

#include "../row_lists.h"
#include "conv_end.h"
#include "executor.h"
#include "tap_range.h"

namespace pointseg::cuda {

constexpr int kTileRows = 64;

// Blocks: row tiles x column tiles, the latter fastest, so that they find the rows in L2. Parts:
// ranges of taps, whose sums go to slabs.
template <typename T, int kColumns>
struct ConvTile {
  static constexpr int kThreads = 128;
  static constexpr int kBlocksPerSm = 3;

  const T* feats;          // [num_in, in_channels]
  const T* weight;         // [num_taps, in_channels, weight_columns]
  int64_t in_channels;     // whole pieces
  int64_t weight_columns;  // whole pieces, at least the columns of `end`
  int64_t num_taps;
  RowLists lists;
  const int32_t* order;  // [parts, rows]: the rows of the tiles of each part; null: as they are
  float* slabs;          // [parts, rows, weight_columns], or null: one part, written by `end`
  ConvEnd<T> end;

  static constexpr int kStepPieces = 4;
  static constexpr int kDepth = kStepPieces * kPiece<T>;
  static constexpr int kStages = 3;
  static constexpr int kTapChunk = 32;  // taps whose neighbours are in shared memory at a time

  // Rows are longer than they need be, so that the eight rows of a matrix lie in different banks.
  struct Stage {
    T rows[kTileRows][kDepth + kPiece<T>];
    T weights[kDepth][kColumns + 8];
  };
  struct Shared {
    union {
      Stage stages[kStages];
      alignas(32) float sums[kTileRows][kColumns + 8];
    };
    int32_t neighbors[kTapChunk][kTileRows];  // -1: none
    int32_t out_rows[kTileRows];
    uint32_t present[kThreads / kWarp];
    uint8_t taps[kTapChunk];  // those that have neighbours
  };

  // Two by two warps share the tile; each has so many sums of 16 x 8.
  static constexpr int kWarpColumns = kColumns / 2;
  static constexpr int kHigh = kTileRows / 2 / 16;
  static constexpr int kWide = kWarpColumns / 8;
  using Sums = float[kHigh][kWide][4];

  // A place in the sequence of pieces.
  struct Place {
    int tap = 0;  // in `taps`
    int piece = 0;

    POINTSEG_HD Place after(int pieces, int per_tap) const {
      Place next{tap, piece + pieces};
      for (int i = 0; i < kStepPieces && next.piece >= per_tap; ++i) {
        next.piece -= per_tap;
        ++next.tap;
      }
      return next;
    }
  };

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t column_tiles = num_blocks_for(weight_columns, kColumns);
    const int64_t first_row = t.block() / column_tiles * kTileRows;
    const int64_t first_column = t.block() % column_tiles * kColumns;
    const TapRange taps = taps_of(t.part(), t.parts(), num_taps);
    find_rows(t, shared, first_row);
    Sums sums = {};
    for (int first = taps.begin; first < taps.end; first += kTapChunk) {
      const int last = first + kTapChunk < taps.end ? first + kTapChunk : taps.end;
      const int found = find_neighbors(t, shared, first, last);
      add_taps(t, shared, first, found, first_column, sums);
    }
    write(t, shared, first_column, sums);
  }

 private:
  template <class Thread>
  POINTSEG_DEVICE void find_rows(Thread& t, Shared& shared, int64_t first_row) const {
    for (int r = t.thread(); r < kTileRows; r += kThreads) {
      const int64_t row = first_row + r;
      int32_t place = -1;
      if (row < lists.num_rows)
        place =
            order == nullptr ? static_cast<int32_t>(row) : order[t.part() * lists.num_rows + row];
      shared.out_rows[r] = place;
    }
    t.sync();
  }

  // Fills the table of neighbours and the list of taps from first to last; returns how many taps
  // are in it.
  template <class Thread>
  POINTSEG_DEVICE int find_neighbors(Thread& t, Shared& shared, int first, int last) const {
    const Pack<int32_t, 4> none{-1, -1, -1, -1};
    for (int i = 4 * t.thread(); i < kTapChunk * kTileRows; i += 4 * kThreads)
      store_pack(&shared.neighbors[0][0] + i, none);
    t.sync();
    constexpr int kLanes = 8;  // that walk the list of a row
    for (int r = t.thread() / kLanes; r < kTileRows; r += kThreads / kLanes) {
      const int64_t row = shared.out_rows[r];
      if (row < 0) continue;
      const int64_t list_end = lists.row_starts[row + 1];
      for (int64_t e = lists.row_starts[row] + t.thread() % kLanes; e < list_end; e += kLanes) {
        const int tap = lists.taps[e];
        if (tap >= first && tap < last) shared.neighbors[tap - first][r] = lists.neighbors[e];
      }
    }
    t.sync();
    constexpr int kWarpTaps = kTapChunk * kWarp / kThreads;
    uint32_t present = 0;
    for (int tap = t.warp() * kWarpTaps; tap < (t.warp() + 1) * kWarpTaps; ++tap) {
      const int32_t* row = shared.neighbors[tap];
      static_assert(kTileRows == 2 * kWarp);
      if (t.ballot(row[t.lane()] >= 0 || row[t.lane() + kWarp] >= 0) != 0) present |= 1u << tap;
    }
    if (t.lane() == 0) shared.present[t.warp()] = present;
    t.sync();
    present = 0;
    for (const uint32_t some : shared.present) present |= some;
    const int tap = t.thread();
    if (tap < kTapChunk && (present >> tap & 1) != 0)
      shared.taps[std::popcount(present & ((1u << tap) - 1))] = static_cast<uint8_t>(tap);
    t.sync();
    return std::popcount(present);
  }

  template <class Thread>
  POINTSEG_DEVICE void add_taps(Thread& t, Shared& shared, int first_tap, int found,
                                int64_t first_column, Sums& sums) const {
    const int per_tap = static_cast<int>(in_channels / kPiece<T>);
    const int num_steps = (found * per_tap + kStepPieces - 1) / kStepPieces;
    Place next;
    int loaded = 0, filled = 0, used = 0;  // steps on their way; stages to fill and to use next
    const auto load_next = [&] {
      if (loaded++ < num_steps) {
        load(t, shared, shared.stages[filled], next, first_tap, found, first_column);
        next = next.after(kStepPieces, per_tap);
        filled = filled + 1 < kStages ? filled + 1 : 0;
      }
      t.commit();  // of nothing, too: wait() counts groups
    };
    for (int stage = 0; stage < kStages - 1; ++stage) load_next();
    for (int step = 0; step < num_steps; ++step) {
      t.template wait<kStages - 2>();
      t.sync();  // all copies of this step are there, and the stage of the last one is free
      load_next();
      multiply(t, shared.stages[used], sums);
      used = used + 1 < kStages ? used + 1 : 0;
    }
    t.template wait<0>();
    t.sync();
  }

  template <class Thread>
  POINTSEG_DEVICE void load(Thread& t, const Shared& shared, Stage& stage, Place first,
                            int first_tap, int found, int64_t first_column) const {
    const int per_tap = static_cast<int>(in_channels / kPiece<T>);
    const int piece = t.thread() % kStepPieces;
    const Place place = first.after(piece, per_tap);
    const bool is_piece = place.tap < found;
    const int32_t* neighbors = shared.neighbors[is_piece ? shared.taps[place.tap] : 0];
    for (int r = t.thread() / kStepPieces; r < kTileRows; r += kThreads / kStepPieces) {
      const int64_t neighbor = is_piece ? neighbors[r] : -1;
      const bool there = neighbor >= 0;
      const T* from = there ? feats + neighbor * in_channels + place.piece * kPiece<T> : feats;
      t.copy_async(&stage.rows[r][piece * kPiece<T>], from, there);
    }
    constexpr int kAcross = kColumns / kPiece<T>;
    static_assert(kDepth * kAcross % kThreads == 0);
    for (int i = t.thread(); i < kDepth * kAcross; i += kThreads) {
      const int k = i / kAcross, column = i % kAcross * kPiece<T>;
      const Place at = first.after(k / kPiece<T>, per_tap);
      const bool there = at.tap < found && first_column + column < weight_columns;
      const T* from = weight;
      if (there) {
        const int64_t tap = first_tap + shared.taps[at.tap];
        const int64_t row = tap * in_channels + at.piece * kPiece<T> + k % kPiece<T>;
        from += row * weight_columns + first_column + column;
      }
      t.copy_async(&stage.weights[k][column], from, there);
    }
  }

  // Fragments lie as PTX says: a 16 x 8 block of 32-bit words of the rows, however many numbers
  // are in a word, and 8 columns of the weights beside them.
  template <class Thread>
  POINTSEG_DEVICE void multiply(Thread& t, const Stage& stage, Sums& sums) const {
    constexpr int kStep = 2 * kPiece<T>;
    const int row = t.warp() / 2 * (kTileRows / 2), column = t.warp() % 2 * kWarpColumns;
    for (int k = 0; k < kDepth; k += kStep) {
      uint32_t a[kHigh][4];
      for (int i = 0; i < kHigh; ++i) {
        t.load_matrices(a[i],
                        &stage.rows[row + 16 * i + t.lane() % 16][k + t.lane() / 16 * kPiece<T>]);
        if constexpr (std::is_same_v<T, float>)
          for (uint32_t& bits : a[i]) bits = tf32_bits(same_bits<float>(bits));
      }
      for (int j = 0; j < kWide; j += 2) {
        uint32_t b[2][2];
        load_columns(t, stage, k, column + 8 * j, b);
        for (int i = 0; i < kHigh; ++i) {
          t.template multiply<Factor<T>>(sums[i][j], a[i], b[0]);
          t.template multiply<Factor<T>>(sums[i][j + 1], a[i], b[1]);
        }
      }
    }
  }

  // Two fragments of weights, of columns and of the eight after them.
  template <class Thread>
  POINTSEG_DEVICE void load_columns(Thread& t, const Stage& stage, int k, int column,
                                    uint32_t (&b)[2][2]) const {
    if constexpr (std::is_same_v<T, float>) {  // rounded already
      for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 2; ++i)
          b[j][i] = same_bits<uint32_t>(
              stage.weights[k + 4 * i + t.lane() % 4][column + 8 * j + t.lane() / 4]);
    } else {
      uint32_t all[4];
      t.load_matrices_turned(all, &stage.weights[k + t.lane() % 16][column + t.lane() / 16 * 8]);
      for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 2; ++i) b[j][i] = all[2 * j + i];
    }
  }

  // By way of shared memory, for whole pieces of rows.
  template <class Thread>
  POINTSEG_DEVICE void write(Thread& t, Shared& shared, int64_t first_column,
                             const Sums& sums) const {
    const int first = t.warp() / 2 * (kTileRows / 2) + t.lane() / 4;
    const int column = t.warp() % 2 * kWarpColumns + 2 * (t.lane() % 4);
    for (int i = 0; i < kHigh; ++i)
      for (int j = 0; j < kWide; ++j)
        for (int half = 0; half < 2; ++half)
          store_pack(&shared.sums[first + 16 * i + 8 * half][column + 8 * j],
                     Pack<float, 2>{sums[i][j][2 * half], sums[i][j][2 * half + 1]});
    t.sync();
    constexpr int kAcross = kColumns / kPiece<T>;
    for (int i = t.thread(); i < kTileRows * kAcross; i += kThreads) {
      const int r = i / kAcross, c = i % kAcross * kPiece<T>;
      const int64_t row = shared.out_rows[r];
      if (row < 0 || first_column + c >= weight_columns) continue;
      const auto piece = load_pack<kPiece<T>>(&shared.sums[r][c]);
      if (slabs == nullptr) {
        end(piece, row, first_column + c);
      } else {
        const int64_t at = (t.part() * lists.num_rows + row) * weight_columns + first_column + c;
        store_pack(slabs + at, piece);
      }
    }
  }
};

}  // namespace pointseg::cuda
