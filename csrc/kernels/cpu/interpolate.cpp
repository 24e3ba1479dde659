#include "interpolate.h"

#include "isa_table.h"

namespace pointseg::cpu {

template <typename T>
void interpolate_corners(const VoxelSearch& grid, const T* query, int64_t num_queries,
                         int64_t corners, int32_t* rows, T* weights, const Parallel& parallel) {
  constexpr int64_t kGrain = 256;
  parallel.ranges(num_queries, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      if (corners == 8) {
        trilinear_corners(grid, query + 4 * q, rows + 8 * q, weights + 8 * q);
      } else {
        nearest_corner(grid, query + 4 * q, rows + q, weights + q);
      }
    }
  });
}

template void interpolate_corners(const VoxelSearch&, const float*, int64_t, int64_t, int32_t*,
                                  float*, const Parallel&);
template void interpolate_corners(const VoxelSearch&, const double*, int64_t, int64_t, int32_t*,
                                  double*, const Parallel&);

POINTSEG_ISA_TABLE(InterpolateKernels, interpolate_kernels)

}  // namespace pointseg::cpu
