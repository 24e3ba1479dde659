// Bound by the gathered rows of values: pairs * channels * sizeof(T) bytes, most of them from L2.
#include "tap_sums.h"

#include <bit>

namespace pointseg::cuda {
namespace {

// A warp owns taps: it adds up their pairs of a tile of 32 rows in registers, then adds that to
// what the block has of earlier tiles. The second dimension of the grid is slices of the channels
// by chunks of the taps.
template <typename T, int V>
struct SliceOfRows {
  using S = Sum<T>;
  using Row = Lanes<T, V>;
  static constexpr int kThreads = 256;
  static constexpr int kBlocksPerSm = 4;
  static constexpr int kWarps = kThreads / kWarp;
  static constexpr int kTile = kWarp;
  static constexpr int kTaps = 96;
  static constexpr int kVectors = V == 1 ? 32 : 64 / V;

  struct alignas(16) Shared {
    S sums[kTaps][kVectors * V];
    int32_t neighbors[kTaps][kTile];
    int32_t entries[kTaps];
  };

  TapSums<T> of;
  int64_t vectors;  // of all channels
  int64_t channel_slices;
  int64_t slice_vectors;
  int64_t chunk_taps;
  int64_t vectors_of_head;
  S* buffers;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t first_tap = t.part() / channel_slices * chunk_taps;
    const auto taps = static_cast<int>(std::min(chunk_taps, of.num_weight_rows - first_tap));
    const int64_t first_vector = t.part() % channel_slices * slice_vectors;
    const auto width = static_cast<int>(std::min(slice_vectors, vectors - first_vector));
    int team = 1;
    while (team < width) team *= 2;
    const int lane = t.lane() % team;
    const int64_t vector = first_vector + lane;
    uint32_t rows_of_team = 0;
    for (int row = t.lane() / team; row < kTile; row += kWarp / team) rows_of_team |= 1u << row;

    for (int i = t.thread(); i < taps * kVectors * V; i += kThreads) (&shared.sums[0][0])[i] = S(0);
    find_entries(t, shared, first_tap, taps);
    const int64_t rows = of.lists.num_rows;
    const int64_t begin = rows * t.block() / t.blocks();
    const int64_t end = rows * (t.block() + 1) / t.blocks();
    for (int64_t first_row = begin; first_row < end; first_row += kTile) {
      place_neighbors(t, shared, first_row, end, first_tap, taps);
      for (int tap = t.warp(); tap < taps; tap += kWarps) {
        const uint32_t present = t.ballot(shared.neighbors[tap][t.lane()] >= 0);
        if (present == 0) continue;
        Row sum = Row::zero();
        if (lane < width)
          sum = add_pairs(t, shared.neighbors[tap], present & rows_of_team, first_row,
                          shared.entries[tap], vector);
        for (int step = team; step < kWarp; step *= 2)
          for (int i = 0; i < V; ++i) sum.v[i] += t.shuffle_xor(sum.v[i], step);
        if (t.lane() < width)
          for (int i = 0; i < V; ++i) shared.sums[tap][lane * V + i] += sum.v[i];
      }
      t.sync();
    }
    const int64_t channels = of.channels;
    S* to = buffers + (t.block() * of.num_weight_rows + first_tap) * channels + first_vector * V;
    for (int i = t.thread(); i < taps * width * V; i += kThreads)
      to[i / (width * V) * channels + i % (width * V)] =
          shared.sums[i / (width * V)][i % (width * V)];
  }

 private:
  // The entry of every weight row that a listed tap has.
  template <class Thread>
  POINTSEG_DEVICE void find_entries(Thread& t, Shared& shared, int64_t first_tap, int taps) const {
    for (int i = t.thread(); i < taps; i += kThreads) shared.entries[i] = 0;
    t.sync();
    if (!of.lists.weight_rows || of.lists.num_entries == 0) return;
    int64_t entry = 0;
    const int64_t listed = of.lists.entry_ends[of.lists.num_entries - 1];
    for (int64_t tap = t.thread(); tap < listed; tap += kThreads) {
      while (tap >= of.lists.entry_ends[entry]) ++entry;
      const int64_t row = of.lists.weight_rows[tap] - first_tap;
      if (row >= 0 && row < taps) shared.entries[row] = static_cast<int32_t>(entry);
    }
  }

  // neighbors[tap][row] of a tile, -1: none. Eight threads read the list of a row.
  template <class Thread>
  POINTSEG_DEVICE void place_neighbors(Thread& t, Shared& shared, int64_t first_row,
                                       int64_t end_row, int64_t first_tap, int taps) const {
    for (int i = t.thread(); i < taps * kTile; i += kThreads) (&shared.neighbors[0][0])[i] = -1;
    t.sync();
    constexpr int kReaders = kThreads / kTile;
    const int row = t.thread() / kReaders;
    if (first_row + row < end_row) {
      const RegionLists& lists = of.lists;
      const int64_t end = lists.row_starts[first_row + row + 1];
      for (int64_t pair = lists.row_starts[first_row + row] + t.thread() % kReaders; pair < end;
           pair += kReaders) {
        const int64_t listed = lists.taps[pair];
        const int64_t tap = (lists.weight_rows ? lists.weight_rows[listed] : listed) - first_tap;
        if (tap >= 0 && tap < taps) shared.neighbors[tap][row] = lists.neighbors[pair];
      }
    }
    t.sync();
  }

  // The pairs of one tap with the given rows of a tile.
  template <class Thread>
  POINTSEG_DEVICE Row add_pairs(Thread&, const int32_t* neighbors, uint32_t rows, int64_t first_row,
                                int64_t entry, int64_t vector) const {
    const int64_t grad_entry = of.grad_groups == 1 ? 0 : entry;
    const int64_t value_entry = of.value_groups == 1 ? 0 : entry;
    const int64_t head = vector / vectors_of_head;
    Row sum = Row::zero();
    for (; rows != 0; rows &= rows - 1) {
      const int at = std::countr_zero(rows);
      const int64_t row = first_row + at;
      const S choice = of.choice.data ? of.choice.at(row, entry, head) : S(1);
      if (choice == S(0)) continue;
      const Row grad =
          Row::load(of.grads + (row * of.grad_groups + grad_entry) * of.channels + vector * V);
      const Row value = Row::load(
          of.values + (neighbors[at] * of.value_groups + value_entry) * of.channels + vector * V);
      sum.add_product(product(Row::filled(choice), grad), value);
    }
    return sum;
  }
};

// Elements side by side; a warp adds every eighth buffer, and the first warp what the others have.
template <typename S>
struct AddSlices {
  static constexpr int kThreads = 256;
  static constexpr int kWarps = kThreads / kWarp;
  struct Shared {
    S sums[kWarps][kWarp];
  };

  const S* buffers;
  int64_t slices;
  int64_t size;
  S* sum;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t i = t.block() * kWarp + t.lane();
    S mine = 0;
    if (i < size)
      for (int64_t slice = t.warp(); slice < slices; slice += kWarps)
        mine += buffers[slice * size + i];
    shared.sums[t.warp()][t.lane()] = mine;
    t.sync();
    if (t.warp() != 0 || i >= size) return;
    for (int warp = 1; warp < kWarps; ++warp) mine += shared.sums[warp][t.lane()];
    sum[i] = mine;
  }
};

}  // namespace

template <typename T>
Status add_by_tap(const TapSums<T>& sums, Sum<T>* buffers, Sum<T>* grad_weight, Stream stream) {
  const int64_t size = sums.num_weight_rows * sums.channels;
  if (size == 0) return kSuccess;
  const int64_t slices = num_tap_slices(sums.lists.num_rows);
  const int64_t width = sums.choice.data ? sums.channels / sums.choice.heads : sums.channels;
  const auto run = [&]<int V>() {
    // Of more than 4 lanes a warp would have too few teams on narrow channels.
    constexpr int kLanes = V > 4 ? 4 : V;
    using Kernel = SliceOfRows<T, kLanes>;
    const int64_t vectors = sums.channels / kLanes;
    const int64_t channel_slices = num_blocks_for(vectors, Kernel::kVectors);
    const int64_t chunks = num_blocks_for(sums.num_weight_rows, Kernel::kTaps);
    return launch(Kernel{sums, vectors, channel_slices, num_blocks_for(vectors, channel_slices),
                         num_blocks_for(sums.num_weight_rows, chunks), width / kLanes, buffers},
                  Grid{slices, channel_slices * chunks}, stream);
  };
  const Status status = with_lanes<T>(width, 0, run, sums.values, sums.grads);
  if (status != kSuccess) return status;
  return launch(AddSlices<Sum<T>>{buffers, slices, size, grad_weight}, num_blocks_for(size, kWarp),
                stream);
}

#define POINTSEG_TAP_SUMS(T) \
  template Status add_by_tap(const TapSums<T>&, Sum<T>*, Sum<T>*, Stream);
POINTSEG_TAP_SUMS(float)
POINTSEG_TAP_SUMS(double)
POINTSEG_TAP_SUMS(Half)
POINTSEG_TAP_SUMS(Bfloat16)
#undef POINTSEG_TAP_SUMS

}  // namespace pointseg::cuda
