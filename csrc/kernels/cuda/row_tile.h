// How the threads of a block share a matrix of rows: a thread has one pack of columns, which it
// loads and stores as one, and every so many-th row. Threads side by side have packs side by side,
// so that a warp touches whole sectors of memory.
#pragma once

#include <cstdint>
#include <type_traits>

#include "executor.h"

namespace pointseg::cuda {

constexpr int kTileThreads = 256;
constexpr int kTileColumns = 32;

// Numbers in 16 bytes. float64, which is there to check the others, goes one by one.
template <typename T>
constexpr int kFullPack = std::is_same_v<T, double> ? 1 : static_cast<int>(16 / sizeof(T));

// Calls run(constant) with the largest pack that rows of `channels` numbers, lying at these
// addresses, can be cut into: kFullPack<T> or 1.
template <typename T, class Run, typename... At>
Status with_pack(int64_t channels, const Run& run, const At*... at) {
  if constexpr (kFullPack<T> > 1) {
    constexpr int kPack = kFullPack<T>;
    if (channels % kPack == 0 &&
        ((reinterpret_cast<uintptr_t>(at) % alignof(Pack<At, kPack>) == 0) && ...))
      return run(std::integral_constant<int, kPack>{});
  }
  return run(std::integral_constant<int, 1>{});
}

// The place of one thread; parts of the grid are tiles of kTileColumns packs.
struct RowTile {
  int columns;      // packs in this tile
  int lanes;        // rows that the block takes at a time
  int lane;         // which of them is this thread's: none if it is not below `lanes`
  int64_t channel;  // the first of this thread's pack
  bool first;       // of all packs of the row
};

template <int kPack, class Thread>
POINTSEG_DEVICE RowTile row_tile(Thread& t, int64_t channels) {
  const int64_t tile = t.part() * kTileColumns, left = channels / kPack - tile;
  const int columns = left < kTileColumns ? static_cast<int>(left) : kTileColumns;
  const int64_t column = tile + t.thread() % columns;
  return {columns, kTileThreads / columns, t.thread() / columns, column * kPack, column == 0};
}

inline int64_t num_tiles(int64_t channels, int pack) {
  return num_blocks_for(channels / pack, kTileColumns);
}

// The grid in which every lane of a block has `rows_per_lane` rows.
inline Grid row_grid(int64_t rows, int64_t channels, int pack, int rows_per_lane) {
  const int64_t packs = channels / pack;
  if (packs == 0) return {0};
  const int64_t lanes = kTileThreads / (packs < kTileColumns ? packs : kTileColumns);
  return {num_blocks_for(rows, lanes * rows_per_lane), num_tiles(channels, pack)};
}

// The lanes of a column become one, neighbours first: join(to, from) takes in what thread `from`
// left in shared memory for what thread `to` did, of which the first comes before the other. Lane 0
// has the result.
template <class Thread, class Join>
POINTSEG_DEVICE void join_lanes(Thread& t, const RowTile& tile, const Join& join) {
  for (int stride = 1; stride < tile.lanes; stride *= 2) {
    t.sync();
    if (tile.lane % (2 * stride) == 0 && tile.lane + stride < tile.lanes)
      join(t.thread(), t.thread() + stride * tile.columns);
  }
}

// The sum over the lanes of a warp, the same in all of them.
template <class Thread, typename S>
POINTSEG_DEVICE S sum_of_warp(Thread& t, S value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += t.shuffle_xor(value, mask);
  return value;
}

}  // namespace pointseg::cuda
