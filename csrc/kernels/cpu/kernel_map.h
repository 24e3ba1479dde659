// Search for the pairs of kernel maps, see `map_pairs.h`.
#pragma once

#include <cstdint>

#include "../map_pairs.h"
#include "../parallel.h"

namespace pointseg::cpu {

// The taps of one kernel that share (dx, dy): one search along z serves them all.
struct TapColumn {
  int64_t low_delta;   // key delta of the lowest tap
  int64_t span;        // key distance from the lowest tap to the highest
  const int32_t* tap;  // tap[j] = index of the tap `j` above the lowest, -1 where there is none
};

// What to search: sorted keys of both grids. Rows are places in them.
struct MapSearch {
  const int64_t* in_keys;
  int64_t num_in;
  const int64_t* out_keys;
  int64_t num_out;
  const TapColumn* columns;
  int64_t num_columns;
  int64_t num_taps;
};

// counts [blocks, taps] of pairs.
void count_pairs(const MapSearch& search, int64_t* counts, const Parallel& parallel);

// Writes the pairs. begins [blocks, taps] says where those of each group begin.
void fill_pairs(const MapSearch& search, const int64_t* begins, int32_t* in_rows, int32_t* out_rows,
                const Parallel& parallel);

// A symmetric kernel on one grid: pair (i, o) of a tap is pair (o, i) of its mirror, so half of the
// taps are searched for, those with offsets above zero.
struct MirroredTaps {
  const int32_t* upper;  // [num_upper] taps that `half` has the pairs of, in its order
  const int32_t* lower;  // [num_upper] their mirrors
  int64_t num_upper;
  int32_t centre;  // the tap without offset, -1: there is none
  int64_t num_taps;
  int64_t num_rows;
};

// As count_pairs and fill_pairs, from the pairs of the upper taps; counts is zero on entry.
void count_mirrored(const MapPairs& half, const MirroredTaps& taps, int64_t* counts,
                    const Parallel& parallel);
void fill_mirrored(const MapPairs& half, const MirroredTaps& taps, const int64_t* begins,
                   int32_t* in_rows, int32_t* out_rows, const Parallel& parallel);

// Groups the pairs anew after their rows have been swapped or renumbered: `map` lists new rows, in
// groups of any rows, which go to `num_blocks` blocks. Otherwise as above.
void count_regrouped(const MapPairs& map, int64_t num_blocks, int64_t* counts,
                     const Parallel& parallel);
void fill_regrouped(const MapPairs& map, int64_t num_blocks, const int64_t* begins,
                    int32_t* in_rows, int32_t* out_rows, const Parallel& parallel);

}  // namespace pointseg::cpu
