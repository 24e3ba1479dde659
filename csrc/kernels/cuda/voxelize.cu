#include "voxelize.h"

#include "executor.h"

namespace pointseg::cuda {
namespace {

// Bound by memory: 16 bytes read and 8 written per row.
struct VoxelKeys {
  static_assert(kRowsOfFirst == kWarp);
  static constexpr int kThreads = 256;
  const int32_t* coords;
  int64_t num_rows;
  int64_t* keys;
  int64_t* first_outside;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    bool inside = true;
    if (i < num_rows) {
      const Pack<int32_t, 4> row = load_pack<4>(coords + 4 * i);
      inside = in_key_range(row.v);
      keys[i] = inside ? pack_key(row.v) : kOutsideRange;
    }
    const uint32_t outside = t.ballot(!inside);
    const uint32_t below = (uint32_t{1} << t.lane()) - 1;
    if (outside == 0 ? t.lane() == 0 && i < num_rows : !inside && (outside & below) == 0)
      first_outside[i / kWarp] = outside == 0 ? num_rows : i;
  }
};

struct FindOutside {
  static constexpr int kThreads = 512;
  static constexpr int kWarps = kThreads / kWarp;
  struct Shared {
    int64_t least[kWarps];
  };
  const int32_t* coords;
  int64_t num_rows;
  const int64_t* first_outside;
  int64_t* found;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    auto& least = t.template shared<Shared>().least;
    int64_t first = num_rows;
    for (int64_t i = t.thread(); i < num_blocks_for(num_rows, kRowsOfFirst); i += kThreads)
      first = first_outside[i] < first ? first_outside[i] : first;
    for (int mask = kWarp / 2; mask > 0; mask /= 2) {
      const int64_t other = t.shuffle_xor(first, mask);
      first = other < first ? other : first;
    }
    if (t.lane() == 0) least[t.warp()] = first;
    t.sync();
    if (t.thread() != 0) return;
    for (int warp = 0; warp < kWarps; ++warp) first = least[warp] < first ? least[warp] : first;
    found[0] = first;
    for (int axis = 0; axis < 4; ++axis)
      found[1 + axis] = first < num_rows ? coords[4 * first + axis] : 0;
  }
};

}  // namespace

Status voxel_keys(const int32_t* coords, int64_t num_rows, int64_t* keys, int64_t* first_outside,
                  Stream stream) {
  return launch(VoxelKeys{coords, num_rows, keys, first_outside},
                num_blocks_for(num_rows, VoxelKeys::kThreads), stream);
}

Status find_outside(const int32_t* coords, int64_t num_rows, const int64_t* first_outside,
                    int64_t* found, Stream stream) {
  return launch(FindOutside{coords, num_rows, first_outside, found}, 1, stream);
}

}  // namespace pointseg::cuda
