#include "interpolate.h"

#include "row_tile.h"

namespace pointseg::cuda {
namespace {

// A thread per query: four binary searches among the sorted keys, which the cache holds but for
// their last steps.
template <typename Q, int kCorners>
struct FindCorners {
  static constexpr int kThreads = 128;
  VoxelSearch grid;
  const Q* query;
  int64_t num_queries;
  int32_t* rows;
  Q* weights;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t q = t.block() * kThreads + t.thread();
    if (q >= num_queries) return;
    int32_t row[kCorners];
    Q weight[kCorners];
    if constexpr (kCorners == 8) {
      trilinear_corners(grid, query + 4 * q, row, weight);
    } else {
      nearest_corner(grid, query + 4 * q, row, weight);
    }
    for (int i = 0; i < kCorners; ++i) {
      rows[kCorners * q + i] = row[i];
      weights[kCorners * q + i] = weight[i];
    }
  }
};

// A thread per query and pack of columns. Bound by gathering the corners, which queries side by
// side share.
template <typename T, int kPack>
struct ReadCorners {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kRun = 4;  // corners whose loads are under way together
  const T* feats;
  const int32_t* rows;
  const Sum<T>* weights;
  int64_t num_queries, corners, channels;
  T* out;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    using S = Sum<T>;
    const RowTile tile = row_tile<kPack>(t, channels);
    const int64_t q = t.block() * tile.lanes + tile.lane;
    if (tile.lane >= tile.lanes || q >= num_queries) return;
    S sum[kPack] = {};
    for (int64_t first = q * corners; first < (q + 1) * corners; first += kRun) {
      int32_t row[kRun];
      Pack<T, kPack> in[kRun];
      for (int i = 0; i < kRun; ++i) row[i] = first + i < (q + 1) * corners ? rows[first + i] : -1;
      for (int i = 0; i < kRun; ++i)
        if (row[i] >= 0) in[i] = load_pack<kPack>(feats + row[i] * channels + tile.channel);
      for (int i = 0; i < kRun; ++i) {
        if (row[i] < 0) continue;
        const S weight = weights[first + i];
        for (int c = 0; c < kPack; ++c) sum[c] += weight * widened(in[i].v[c]);
      }
    }
    Pack<T, kPack> result;
    for (int c = 0; c < kPack; ++c) result.v[c] = rounded<T>(sum[c]);
    store_pack(out + q * channels + tile.channel, result);
  }
};

}  // namespace

template <typename Q>
Status interpolate_corners(const VoxelSearch& grid, const Q* query, int64_t num_queries,
                           int64_t corners, int32_t* rows, Q* weights, Stream stream) {
  const int64_t blocks = num_blocks_for(num_queries, FindCorners<Q, 1>::kThreads);
  if (corners == 8)
    return launch(FindCorners<Q, 8>{grid, query, num_queries, rows, weights}, blocks, stream);
  return launch(FindCorners<Q, 1>{grid, query, num_queries, rows, weights}, blocks, stream);
}

template <typename T>
Status interpolate(const T* feats, const int32_t* rows, const Sum<T>* weights, int64_t num_queries,
                   int64_t corners, int64_t channels, T* out, Stream stream) {
  return with_pack<T>(
      channels,
      [&](auto pack) {
        return launch(ReadCorners<T, decltype(pack)::value>{feats, rows, weights, num_queries,
                                                            corners, channels, out},
                      row_grid(num_queries, channels, pack, 1), stream);
      },
      feats, out);
}

template Status interpolate_corners(const VoxelSearch&, const float*, int64_t, int64_t, int32_t*,
                                    float*, Stream);
template Status interpolate_corners(const VoxelSearch&, const double*, int64_t, int64_t, int32_t*,
                                    double*, Stream);

#define POINTSEG_INTERPOLATE(T)                                                                   \
  template Status interpolate(const T*, const int32_t*, const Sum<T>*, int64_t, int64_t, int64_t, \
                              T*, Stream);
POINTSEG_INTERPOLATE(float)
POINTSEG_INTERPOLATE(double)
POINTSEG_INTERPOLATE(Half)
POINTSEG_INTERPOLATE(Bfloat16)

}  // namespace pointseg::cuda
