#include "neighbor_table.h"

namespace pointseg::cuda {
namespace {

// A block of threads per block of output rows and tap. Pairs and table are read and written in the
// order in which they lie in memory; what is scattered is scattered in shared memory.
struct FillTable {
  static constexpr int kThreads = 256;
  struct Shared {
    int32_t rows[kBlockRows];
  };
  MapPairs map;
  int64_t first_block;
  int32_t* rows;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& column = t.template shared<Shared>();
    const int64_t block = first_block + t.block(), tap = t.part();
    for (int i = t.thread(); i < kBlockRows; i += kThreads) column.rows[i] = -1;
    t.sync();
    const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
    for (int64_t pair = segment[0] + t.thread(); pair < segment[1]; pair += kThreads)
      column.rows[map.out_rows[pair] - block * kBlockRows] = map.in_rows[pair];
    t.sync();
    int32_t* to = rows + (t.block() * map.num_taps + tap) * kBlockRows;
    for (int i = t.thread(); i < kBlockRows; i += kThreads) to[i] = column.rows[i];
  }
};

}  // namespace

Status fill_table(const MapPairs& map, int64_t first_block, int64_t num_blocks, int32_t* rows,
                  Stream stream) {
  return launch(FillTable{map, first_block, rows}, Grid{num_blocks, map.num_taps}, stream);
}

}  // namespace pointseg::cuda
