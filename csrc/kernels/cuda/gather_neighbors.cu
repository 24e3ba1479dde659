#include "gather_neighbors.h"

#include "executor.h"

namespace pointseg::cuda {
namespace {

// A block of threads per block of output rows and tap; threads side by side copy units side by
// side. Bound by the bytes copied.
template <class Unit>
struct CopyPairs {
  static constexpr int kThreads = 256;
  const Unit* in;
  Unit* out;
  int64_t row_units;
  MapPairs map;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t block = t.block(), tap = t.part();
    const int64_t* segment = map.segments + (block * map.num_taps + tap) * 2;
    const int columns = row_units < kThreads ? static_cast<int>(row_units) : kThreads;
    const int lanes = kThreads / columns, lane = t.thread() / columns;
    if (lane >= lanes) return;
    for (int64_t pair = segment[0] + lane; pair < segment[1]; pair += lanes) {
      const Unit* from = in + map.in_rows[pair] * row_units;
      Unit* to = out + (map.out_rows[pair] * map.num_taps + tap) * row_units;
      for (int64_t at = t.thread() % columns; at < row_units; at += columns) to[at] = from[at];
    }
  }
};

template <class Unit>
Status copy_pairs(const void* in, void* out, int64_t row_bytes, const MapPairs& map,
                  Stream stream) {
  return launch(CopyPairs<Unit>{static_cast<const Unit*>(in), static_cast<Unit*>(out),
                                row_bytes / static_cast<int64_t>(sizeof(Unit)), map},
                Grid{map.num_blocks, map.num_taps}, stream);
}

}  // namespace

Status gather_neighbors(const void* in, void* out, int64_t row_bytes, const MapPairs& map,
                        Stream stream) {
  const auto places =
      static_cast<int64_t>(reinterpret_cast<uintptr_t>(in) | reinterpret_cast<uintptr_t>(out));
  const int64_t odd = row_bytes | places;
  if (odd % 16 == 0) return copy_pairs<Pack<uint32_t, 4>>(in, out, row_bytes, map, stream);
  if (odd % 4 == 0) return copy_pairs<uint32_t>(in, out, row_bytes, map, stream);
  return copy_pairs<uint16_t>(in, out, row_bytes, map, stream);
}

}  // namespace pointseg::cuda
