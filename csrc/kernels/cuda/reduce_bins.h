// The walk over rows grouped by bin that every reduction shares.
//
// A short bin is reduced by one thread per pack of columns, row after row. Bins of more than
// kChunkRows rows are cut where the sorted rows are cut into chunks of that many: a block of
// threads reduces a chunk, and another joins the chunks of a bin, both in the order of the rows. So
// one bin may hold all rows, and what is added in which order depends on the groups alone.
//
// What is reduced is a Rule, a struct of pointers with
//
//   kPack, State               columns a thread has, and what it keeps of them
//   channels                   of a row
//   none()                     the State before the first row
//   load(row, c)               what it reads of a row; c is the first of the columns
//   take(state, row, loaded)   one more row
//   join(state, later)         the State of rows that come after those of `state`
//   keep(state, place, c)      into row `place` of a buffer of num_places(num_rows) rows
//   kept(place, c)             and back
//   finish(state, bin, rows, c, first)   the result; `first`: c is 0
#pragma once

#include "group_rows.h"
#include "row_tile.h"

namespace pointseg::cuda {

constexpr int64_t kChunkRows = 128;

inline int64_t num_chunks(int64_t num_rows) { return num_blocks_for(num_rows, kChunkRows); }

// A chunk may hold the end of one long bin and the beginning of another.
inline int64_t num_places(int64_t num_rows) {
  return num_rows > kChunkRows ? 2 * num_chunks(num_rows) : 0;
}

POINTSEG_HD bool is_long(const RowGroups& groups, int64_t bin) {
  return bin < groups.num_bins && groups.starts[bin + 1] - groups.starts[bin] > kChunkRows;
}

// Takes sorted rows [begin, end) in order. Several rows are read at a time, since each read waits
// for the number of its row.
template <class Rule>
POINTSEG_DEVICE void take_rows(const Rule& rule, const RowGroups& groups, int64_t begin,
                               int64_t end, int64_t c, typename Rule::State& state) {
  constexpr int kRun = 4;
  for (int64_t first = begin; first < end; first += kRun) {
    int32_t rows[kRun];
    decltype(rule.load(0, c)) loaded[kRun];
    for (int i = 0; i < kRun; ++i)
      if (first + i < end) rows[i] = groups.order[first + i];
    for (int i = 0; i < kRun; ++i)
      if (first + i < end) loaded[i] = rule.load(rows[i], c);
    for (int i = 0; i < kRun; ++i)
      if (first + i < end) rule.take(state, rows[i], loaded[i]);
  }
}

template <class Rule>
struct ReduceShortBins {
  static constexpr int kThreads = kTileThreads;
  Rule rule;
  RowGroups groups;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const RowTile tile = row_tile<Rule::kPack>(t, rule.channels);
    const int64_t bin = t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || bin >= groups.num_bins || is_long(groups, bin)) return;
    const int64_t begin = groups.starts[bin], end = groups.starts[bin + 1];
    auto state = rule.none();
    take_rows(rule, groups, begin, end, tile.channel, state);
    rule.finish(state, bin, end - begin, tile.channel, tile.first);
  }
};

// take(state, begin, end) for stretches of [0, count), one per lane; lane 0 gets all of it.
template <class Rule, class Thread, class Take>
POINTSEG_DEVICE typename Rule::State reduce_by_lanes(Thread& t, const RowTile& tile,
                                                     typename Rule::State* shared, const Rule& rule,
                                                     int64_t count, const Take& take) {
  const int64_t stretch = (count + tile.lanes - 1) / tile.lanes, begin = tile.lane * stretch;
  auto state = rule.none();
  if (tile.lane < tile.lanes) take(state, begin, begin + stretch < count ? begin + stretch : count);
  t.sync();
  shared[t.thread()] = state;
  join_lanes(t, tile, [&](int to, int from) { rule.join(shared[to], shared[from]); });
  return shared[t.thread()];
}

template <class Rule>
struct ReduceChunks {
  static constexpr int kThreads = kTileThreads;
  struct Shared {
    typename Rule::State lanes[kThreads];
  };
  Rule rule;
  RowGroups groups;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t begin = t.block() * kChunkRows;
    const int64_t end = begin + kChunkRows < groups.num_rows ? begin + kChunkRows : groups.num_rows;
    const int64_t first = groups.bins[begin], last = groups.bins[end - 1];
    if (is_long(groups, first)) {
      const int64_t next = groups.starts[first + 1];
      reduce(t, begin, next < end ? next : end, 2 * t.block());
    }
    if (last != first && is_long(groups, last))
      reduce(t, groups.starts[last], end, 2 * t.block() + 1);
  }

  template <class Thread>
  POINTSEG_DEVICE void reduce(Thread& t, int64_t begin, int64_t end, int64_t place) const {
    const RowTile tile = row_tile<Rule::kPack>(t, rule.channels);
    const auto state =
        reduce_by_lanes(t, tile, t.template shared<Shared>().lanes, rule, end - begin,
                        [&](auto& state, int64_t from, int64_t to) {
                          take_rows(rule, groups, begin + from, begin + to, tile.channel, state);
                        });
    if (tile.lane == 0) rule.keep(state, place, tile.channel);
  }
};

// A block of threads per chunk: it joins the long bin that begins there, if one does.
template <class Rule>
struct JoinChunks {
  static constexpr int kThreads = kTileThreads;
  struct Shared {
    typename Rule::State lanes[kThreads];
  };
  Rule rule;
  RowGroups groups;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t chunk = t.block(), begin = chunk * kChunkRows;
    const int64_t end = begin + kChunkRows < groups.num_rows ? begin + kChunkRows : groups.num_rows;
    const int64_t bin = groups.bins[end - 1];
    if (!is_long(groups, bin) || groups.starts[bin] < begin) return;
    const int64_t from = groups.starts[bin], to = groups.starts[bin + 1];
    const int64_t count = (to - 1) / kChunkRows - chunk + 1;
    const int64_t second_half = from > begin ? 1 : 0;
    const RowTile tile = row_tile<Rule::kPack>(t, rule.channels);
    const auto state = reduce_by_lanes(t, tile, t.template shared<Shared>().lanes, rule, count,
                                       [&](auto& state, int64_t first, int64_t last) {
                                         for (int64_t i = first; i < last; ++i) {
                                           const int64_t place =
                                               2 * (chunk + i) + (i == 0 ? second_half : 0);
                                           rule.join(state, rule.kept(place, tile.channel));
                                         }
                                       });
    if (tile.lane == 0) rule.finish(state, bin, to - from, tile.channel, tile.first);
  }
};

template <class Rule>
Status reduce_bins(const Rule& rule, const RowGroups& groups, Stream stream) {
  const Status status = launch(ReduceShortBins<Rule>{rule, groups},
                               row_grid(groups.num_bins, rule.channels, Rule::kPack, 1), stream);
  if (status != kSuccess || groups.num_rows <= kChunkRows) return status;
  const Grid chunks{num_chunks(groups.num_rows), num_tiles(rule.channels, Rule::kPack)};
  const Status reduced = launch(ReduceChunks<Rule>{rule, groups}, chunks, stream);
  if (reduced != kSuccess) return reduced;
  return launch(JoinChunks<Rule>{rule, groups}, chunks, stream);
}

}  // namespace pointseg::cuda
