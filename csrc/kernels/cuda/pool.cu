// A thread makes a pack of one output row: it walks the taps in order and keeps the sum or the
// largest in registers. Bound by gathering the rows, most of which the cache has: neighbours in
// space are neighbours in memory.
#include "pool.h"

#include "../reduce.h"
#include "row_tile.h"

namespace pointseg::cuda {
namespace {

// Taps whose loads are under way together.
constexpr int kTaps = 4;

// visit(i, tap, place in the batch) for the taps of a row in batches of kTaps: `load` for all of a
// batch, then `take` for all.
template <class Load, class Take>
POINTSEG_DEVICE void walk_taps(const NeighborTable& table, int64_t row, const Load& load,
                               const Take& take) {
  const int32_t* taps = table.taps_of(row);
  for (int64_t first = 0; first < table.num_taps; first += kTaps) {
    int32_t from[kTaps];
    for (int i = 0; i < kTaps; ++i)
      from[i] = first + i < table.num_taps ? taps[(first + i) * kBlockRows] : -1;
    for (int i = 0; i < kTaps; ++i)
      if (from[i] >= 0) load(i, int64_t{from[i]}, first + i);
    for (int i = 0; i < kTaps; ++i)
      if (from[i] >= 0) take(i, from[i]);
  }
}

template <typename T, int kPack>
struct SumNeighbors {
  static constexpr int kThreads = kTileThreads;
  NeighborSum<T> of;
  NeighborTable table;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    const RowTile tile = row_tile<kPack>(t, of.channels);
    const int64_t row = table.first_row + t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || row >= table.end_row) return;
    S sum[kPack] = {};
    int32_t count = 0;
    Pack<T, kPack> in[kTaps];
    S divisor[kTaps];
    walk_taps(
        table, row,
        [&](int i, int64_t from, int64_t tap) {
          in[i] =
              load_pack<kPack>(of.in + from * of.row_stride + tap * of.tap_stride + tile.channel);
          if (of.divisors != nullptr) divisor[i] = static_cast<S>(of.divisors[from]);
        },
        [&](int i, int32_t) {
          ++count;
          for (int c = 0; c < kPack; ++c) {
            const S value = widened(in[i].v[c]);
            sum[c] += of.divisors != nullptr ? value / divisor[i] : value;
          }
        });
    Pack<T, kPack> out;
    const S share = static_cast<S>(of.mean && count > 1 ? count : 1);
    for (int c = 0; c < kPack; ++c) out.v[c] = rounded<T>(sum[c] / share);
    store_pack(of.out + row * of.channels + tile.channel, out);
    if (of.counts != nullptr && tile.first) of.counts[row] = count;
  }
};

template <typename T, int kPack>
struct MaxNeighbors {
  static constexpr int kThreads = kTileThreads;
  const T* in;
  int64_t channels;
  NeighborTable table;
  T* out;
  int32_t* winner;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const RowTile tile = row_tile<kPack>(t, channels);
    const int64_t row = table.first_row + t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || row >= table.end_row) return;
    Pack<T, kPack> best{};
    Pack<int32_t, kPack> from;
    for (int c = 0; c < kPack; ++c) from.v[c] = -1;
    Pack<T, kPack> rows[kTaps];
    walk_taps(
        table, row,
        [&](int i, int64_t voxel, int64_t) {
          rows[i] = load_pack<kPack>(in + voxel * channels + tile.channel);
        },
        [&](int i, int32_t voxel) {
          for (int c = 0; c < kPack; ++c) {
            if (from.v[c] >= 0 && !replaces<true>(widened(rows[i].v[c]), widened(best.v[c])))
              continue;
            best.v[c] = rows[i].v[c];
            from.v[c] = voxel;
          }
        });
    store_pack(out + row * channels + tile.channel, best);
    store_pack(winner + row * channels + tile.channel, from);
  }
};

template <typename T, int kPack>
struct MaxNeighborsGrad {
  static constexpr int kThreads = kTileThreads;
  const T* grad_out;
  const int32_t* winner;
  int64_t channels;
  NeighborTable table;
  T* grad_in;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    const RowTile tile = row_tile<kPack>(t, channels);
    const int64_t row = table.first_row + t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || row >= table.end_row) return;
    S sum[kPack] = {};
    Pack<T, kPack> grads[kTaps];
    Pack<int32_t, kPack> winners[kTaps];
    walk_taps(
        table, row,
        [&](int i, int64_t from, int64_t) {
          grads[i] = load_pack<kPack>(grad_out + from * channels + tile.channel);
          winners[i] = load_pack<kPack>(winner + from * channels + tile.channel);
        },
        [&](int i, int32_t) {
          for (int c = 0; c < kPack; ++c)
            sum[c] += winners[i].v[c] == row ? widened(grads[i].v[c]) : S(0);
        });
    Pack<T, kPack> grad;
    for (int c = 0; c < kPack; ++c) grad.v[c] = rounded<T>(sum[c]);
    store_pack(grad_in + row * channels + tile.channel, grad);
  }
};

Grid table_grid(const NeighborTable& table, int64_t channels, int pack) {
  return row_grid(table.end_row - table.first_row, channels, pack, 1);
}

}  // namespace

template <typename T>
Status sum_neighbors(const NeighborSum<T>& sum, const MapPairs& map, int64_t num_out,
                     int32_t* table, Stream stream) {
  const auto run = [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    return over_tables(map, num_out, table, stream, [&](const NeighborTable& part) {
      return launch(SumNeighbors<T, kPack>{sum, part}, table_grid(part, sum.channels, kPack),
                    stream);
    });
  };
  return with_pack<T>(sum.channels, run, sum.in, sum.out);
}

template <typename T>
Status max_neighbors(const T* in, int64_t channels, const MapPairs& map, int64_t num_out,
                     int32_t* table, T* out, int32_t* winner, Stream stream) {
  const auto run = [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    return over_tables(map, num_out, table, stream, [&](const NeighborTable& part) {
      return launch(MaxNeighbors<T, kPack>{in, channels, part, out, winner},
                    table_grid(part, channels, kPack), stream);
    });
  };
  return with_pack<T>(channels, run, in, out, winner);
}

template <typename T>
Status max_neighbors_grad(const T* grad_out, const int32_t* winner, int64_t channels,
                          const MapPairs& swapped, int64_t num_in, int32_t* table, T* grad_in,
                          Stream stream) {
  const auto run = [&](auto pack) {
    constexpr int kPack = decltype(pack)::value;
    return over_tables(swapped, num_in, table, stream, [&](const NeighborTable& part) {
      return launch(MaxNeighborsGrad<T, kPack>{grad_out, winner, channels, part, grad_in},
                    table_grid(part, channels, kPack), stream);
    });
  };
  return with_pack<T>(channels, run, grad_out, winner, grad_in);
}

#define POINTSEG_POOL(T)                                                                          \
  template Status sum_neighbors(const NeighborSum<T>&, const MapPairs&, int64_t, int32_t*,        \
                                Stream);                                                          \
  template Status max_neighbors(const T*, int64_t, const MapPairs&, int64_t, int32_t*, T*,        \
                                int32_t*, Stream);                                                \
  template Status max_neighbors_grad(const T*, const int32_t*, int64_t, const MapPairs&, int64_t, \
                                     int32_t*, T*, Stream);
POINTSEG_POOL(float)
POINTSEG_POOL(double)
POINTSEG_POOL(Half)
POINTSEG_POOL(Bfloat16)

}  // namespace pointseg::cuda
