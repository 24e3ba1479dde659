// Coarser grids of sorted voxels, and the map of a kernel that covers every coarse voxel once.
#pragma once

#include <cstdint>
#include <vector>

#include "../parallel.h"
#include "kernel_map.h"

namespace pointseg::cpu {

// Where the slabs of fine voxels with one coarse x begin in the sorted keys, and the end of all.
std::vector<int64_t> find_slabs(const int64_t* keys, int64_t num_keys, int64_t stride);

// The coarse voxels of every slab: coordinates rounded down to multiples of `stride`. Writes their
// keys, ascending, from slab_keys + the slab's begin on, their number to counts [slabs], and to
// parents [num_keys] the place of each fine voxel's in its slab.
void downsample_slabs(const int64_t* keys, const int64_t* begins, int64_t num_slabs, int64_t stride,
                      int64_t* slab_keys, int64_t* counts, int32_t* parents,
                      const Parallel& parallel);

// Joins the slabs: the keys and coordinates [., 4] of all coarse voxels, and parents counted from
// the first slab. firsts [slabs] is where the voxels of each begin.
void join_slabs(const int64_t* slab_keys, const int64_t* begins, const int64_t* counts,
                const int64_t* firsts, int64_t num_slabs, int64_t* coarse_keys, int32_t* coords,
                int32_t* parents, const Parallel& parallel);

// A kernel of `size` taps a side over coarse voxels of size * fine_stride: fine voxel i lies at one
// tap of its parent, and at none of another.
struct ParentMap {
  const int64_t* keys;
  const int64_t* coarse_keys;
  const int32_t* parents;
  int64_t num_fine;
  int64_t num_coarse;
  int64_t fine_stride;
  int64_t size;
};

// As count_pairs and fill_pairs do; counts is zero on entry, begins is used up.
void count_children(const ParentMap& map, int64_t* counts);
void fill_children(const ParentMap& map, int64_t* begins, int32_t* in_rows, int32_t* out_rows);

}  // namespace pointseg::cpu
