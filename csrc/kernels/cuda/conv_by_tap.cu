#include "conv_by_tap.h"

#include <algorithm>

#include "executor.h"

namespace pointseg::cuda {
namespace {

constexpr int kRowThreads = 256;

// How many neighbouring threads share a row of `packs` loads: a power of two, at most a warp.
int lanes_for(int64_t packs) {
  int lanes = 1;
  while (lanes < packs && lanes < kWarp) lanes *= 2;
  return lanes;
}

template <typename T>
bool aligned(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

struct TapGroupSizes {
  static constexpr int kThreads = 256;
  MapPairs map;
  int64_t* sizes;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= map.num_taps * map.num_blocks) return;
    const int64_t tap = i / map.num_blocks, block = i % map.num_blocks;
    const int64_t* segment = map.segments + 2 * (block * map.num_taps + tap);
    sizes[i] = segment[1] - segment[0];
  }
};

// The pairs of one block and tap that lie in a chunk: `first` is the first of them in the lists of
// the map, `place` where it lies in the chunk.
struct Group {
  int64_t block;
  int64_t tap_of_chunk;
  int64_t first;
  int64_t count;
  int64_t place;
};

// Group number `index` of a chunk, block after block of tap after tap.
POINTSEG_HD Group group_of(const TapChunk& chunk, int64_t index) {
  const int64_t t = index / chunk.map.num_blocks, block = index % chunk.map.num_blocks;
  const int64_t tap = chunk.first_tap + t;
  const int64_t* segment = chunk.map.segments + 2 * (block * chunk.map.num_taps + tap);
  const int64_t group_begin = chunk.group_begins[tap * chunk.map.num_blocks + block];
  const int64_t group_end = group_begin + segment[1] - segment[0];
  const int64_t begin = group_begin > chunk.begin ? group_begin : chunk.begin;
  const int64_t end = group_end < chunk.end ? group_end : chunk.end;
  return {block, t, segment[0] + begin - group_begin, end - begin, begin - chunk.begin};
}

// A block per group. Bound by bytes: each row is read once, from L2 where rows repeat, and written
// once.
template <typename T, int kVec>
struct GatherByTap {
  static constexpr int kThreads = kRowThreads;
  TapChunk chunk;
  const int32_t* rows;
  const T* from;
  int64_t channels;
  int lanes;
  Sum<T>* to;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const Group group = group_of(chunk, t.block());
    const int step = kThreads / lanes;
    const int64_t first = kVec * (t.thread() % lanes), stride = kVec * lanes;
    for (int64_t i = t.thread() / lanes; i < group.count; i += step) {
      const T* row = from + rows[group.first + i] * channels;
      Sum<T>* copy = to + (group.place + i) * channels;
      for (int64_t c = first; c < channels; c += stride) widen(row + c, copy + c);
    }
  }

 private:
  POINTSEG_DEVICE static void widen(const T* row, Sum<T>* copy) {
    constexpr int kOut = kVec < 4 ? kVec : 4;  // 16 bytes
    const Pack<T, kVec> in = load_pack<kVec>(row);
    for (int part = 0; part < kVec; part += kOut) {
      Pack<Sum<T>, kOut> wide;
      for (int i = 0; i < kOut; ++i) wide.v[i] = widened(in.v[part + i]);
      store_pack(copy + part, wide);
    }
  }
};

// A block per group, whose rows of the table it makes in shared memory: a group has an output row
// once at most, so no two threads write to one place.
struct PlacesByTap {
  static constexpr int kThreads = 256;
  struct Shared {
    int32_t places[kBlockRows];
  };
  TapChunk chunk;
  int64_t num_out;
  int32_t* places;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    int32_t* mine = t.template shared<Shared>().places;
    const Group group = group_of(chunk, t.block());
    const int64_t first = group.block * kBlockRows;
    const int64_t rows = num_out - first < kBlockRows ? num_out - first : kBlockRows;
    for (int64_t i = t.thread(); i < rows; i += kThreads) mine[i] = -1;
    t.sync();
    for (int64_t i = t.thread(); i < group.count; i += kThreads)
      mine[chunk.map.out_rows[group.first + i] - first] = static_cast<int32_t>(group.place + i);
    t.sync();
    int32_t* table = places + group.tap_of_chunk * num_out + first;
    for (int64_t i = t.thread(); i < rows; i += kThreads) table[i] = mine[i];
  }
};

// Neighbouring threads share an output row, one pack of channels each. Bound by bytes: every
// product is read once, and one place for every tap and row.
template <typename T, int kVec>
struct SumByTap {
  static constexpr int kThreads = kRowThreads;
  ProductSums<T> of;
  int lanes;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t row = t.block() * (kThreads / lanes) + t.thread() / lanes;
    if (row >= of.num_out) return;
    for (int64_t c = kVec * (t.thread() % lanes); c < of.channels; c += kVec * lanes) {
      Pack<Sum<T>, kVec> sum = start(row, c);
      for (int64_t tap = 0; tap < of.num_taps; tap += kTogether) add(row, c, tap, sum);
      finish(row, c, sum);
    }
  }

 private:
  // Loads on their way at a time: products are added in order, but need not be waited for so.
  static constexpr int kTogether = 4;

  POINTSEG_DEVICE Pack<Sum<T>, kVec> start(int64_t row, int64_t c) const {
    if (of.so_far) return load_pack<kVec>(of.so_far + row * of.channels + c);
    Pack<Sum<T>, kVec> sum;
    for (int i = 0; i < kVec; ++i) {
      sum.v[i] = of.bias ? of.bias[c + i] : 0;
      if (of.residual) sum.v[i] += widened(of.residual[row * of.channels + c + i]);
    }
    return sum;
  }

  POINTSEG_DEVICE void add(int64_t row, int64_t c, int64_t tap, Pack<Sum<T>, kVec>& sum) const {
    int32_t place[kTogether];
    Pack<Sum<T>, kVec> product[kTogether];
    for (int j = 0; j < kTogether; ++j)
      place[j] = tap + j < of.num_taps ? of.places[(tap + j) * of.num_out + row] : -1;
    for (int j = 0; j < kTogether; ++j)
      if (place[j] >= 0) product[j] = load_pack<kVec>(of.products + place[j] * of.channels + c);
    for (int j = 0; j < kTogether; ++j)
      if (place[j] >= 0)
        for (int i = 0; i < kVec; ++i) sum.v[i] += product[j].v[i];
  }

  POINTSEG_DEVICE void finish(int64_t row, int64_t c, const Pack<Sum<T>, kVec>& sum) const {
    if (!of.out) return store_pack(of.sums + row * of.channels + c, sum);
    Pack<T, kVec> result;
    for (int i = 0; i < kVec; ++i)
      result.v[i] = rounded<T>(of.relu && sum.v[i] < 0 ? Sum<T>(0) : sum.v[i]);
    store_pack(of.out + row * of.channels + c, result);
  }
};

template <typename T, int kVec>
Status launch_gather(const TapChunk& chunk, const int32_t* rows, const T* from, int64_t channels,
                     Sum<T>* to, Stream stream) {
  const int lanes = lanes_for(num_blocks_for(channels, kVec));
  return launch(GatherByTap<T, kVec>{chunk, rows, from, channels, lanes, to},
                chunk.num_taps * chunk.map.num_blocks, stream);
}

template <typename T, int kVec>
Status launch_sum(const ProductSums<T>& sums, Stream stream) {
  const int lanes = lanes_for(num_blocks_for(sums.channels, kVec));
  return launch(SumByTap<T, kVec>{sums, lanes}, num_blocks_for(sums.num_out, kRowThreads / lanes),
                stream);
}

}  // namespace

Status tap_group_sizes(const MapPairs& map, int64_t* sizes, Stream stream) {
  return launch(TapGroupSizes{map, sizes},
                num_blocks_for(map.num_taps * map.num_blocks, TapGroupSizes::kThreads), stream);
}

template <typename T>
Status gather_by_tap(const TapChunk& chunk, const int32_t* rows, const T* from, int64_t channels,
                     Sum<T>* to, Stream stream) {
  constexpr int kVec = 16 / sizeof(T);
  return channels % kVec == 0 && aligned(from)
             ? launch_gather<T, kVec>(chunk, rows, from, channels, to, stream)
             : launch_gather<T, 1>(chunk, rows, from, channels, to, stream);
}

Status places_by_tap(const TapChunk& chunk, int64_t num_out, int32_t* places, Stream stream) {
  return launch(PlacesByTap{chunk, num_out, places}, chunk.num_taps * chunk.map.num_blocks, stream);
}

template <typename T>
Status sum_by_tap(const ProductSums<T>& sums, Stream stream) {
  constexpr int kVec = 16 / sizeof(Sum<T>);
  return sums.channels % kVec == 0 ? launch_sum<T, kVec>(sums, stream)
                                   : launch_sum<T, 1>(sums, stream);
}

#define POINTSEG_INSTANTIATE(T)                                                                 \
  template Status gather_by_tap<T>(const TapChunk&, const int32_t*, const T*, int64_t, Sum<T>*, \
                                   Stream);                                                     \
  template Status sum_by_tap<T>(const ProductSums<T>&, Stream);
POINTSEG_INSTANTIATE(float)
POINTSEG_INSTANTIATE(double)
POINTSEG_INSTANTIATE(Half)
POINTSEG_INSTANTIATE(Bfloat16)
#undef POINTSEG_INSTANTIATE

}  // namespace pointseg::cuda
