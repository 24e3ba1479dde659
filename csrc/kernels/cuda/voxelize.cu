#include "voxelize.h"

#include "executor.h"

namespace pointseg::cuda {
namespace {

struct VoxelKeys {
  static constexpr int kThreads = 256;
  const int32_t* coords;
  int64_t num_rows;
  int64_t* keys;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= num_rows) return;
    const Pack<int32_t, 4> row = load_pack<4>(coords + 4 * i);
    keys[i] = in_key_range(row.v) ? pack_key(row.v) : kOutsideRange;
  }
};

}  // namespace

Status voxel_keys(const int32_t* coords, int64_t num_rows, int64_t* keys, Stream stream) {
  return launch(VoxelKeys{coords, num_rows, keys}, num_blocks_for(num_rows, VoxelKeys::kThreads),
                stream);
}

}  // namespace pointseg::cuda
