#include "downsample.h"

#include <algorithm>

#include "../coarse_key.h"

namespace pointseg::cpu {
namespace {

// One run of fine voxels of one x: those that are left, and where those of the present y end.
struct Run {
  int64_t next, column_end, end;
};

// All coarse voxels of one slab, column by column. In a column the fine voxels of one (x, y) ascend
// in z, so the few of them that share a coarse (x, y) are sorted runs.
int64_t downsample_slab(const int64_t* keys, int64_t begin, int64_t end, const Floor& floor,
                        int64_t* slab_keys, int32_t* parents) {
  std::vector<Run> runs;
  for (int64_t i = begin; i < end;) {
    const int64_t next_x = (slab_of(keys[i]) + 1) << (2 * kAxisBits);
    const int64_t stop = std::lower_bound(keys + i, keys + end, next_x) - keys;
    runs.push_back({i, i, stop});
    i = stop;
  }
  std::vector<int64_t> column;
  int64_t count = 0;
  for (;;) {
    int64_t y = INT64_MAX;
    for (const Run& run : runs)
      if (run.next < run.end) y = std::min(y, floor(y_of(keys[run.next])));
    if (y == INT64_MAX) return count;

    column.clear();
    bool sorted = true;
    for (Run& run : runs) {
      int64_t i = run.next;
      for (; i < run.end && y_of(keys[i]) < y + floor.stride; ++i) {
        const int64_t key = coarse_key(keys[i], floor);
        if (!column.empty() && key == column.back()) continue;
        sorted = sorted && (column.empty() || key > column.back());
        column.push_back(key);
      }
      run.column_end = i;
    }
    if (!sorted) {
      std::sort(column.begin(), column.end());
      column.erase(std::unique(column.begin(), column.end()), column.end());
    }
    for (Run& run : runs) {
      size_t place = 0;
      int64_t fine_y = -1;
      for (; run.next < run.column_end; ++run.next) {
        const int64_t key = keys[run.next];
        if (y_of(key) != fine_y) place = 0;  // z begins anew
        fine_y = y_of(key);
        const int64_t wanted = coarse_key(key, floor);
        while (column[place] != wanted) ++place;
        parents[run.next] = static_cast<int32_t>(count + static_cast<int64_t>(place));
      }
    }
    std::copy(column.begin(), column.end(), slab_keys + count);
    count += static_cast<int64_t>(column.size());
  }
}

// group(i) of every fine voxel: the block of its parent and its tap there.
template <class Visit>
void walk_children(const ParentMap& m, const Visit& visit) {
  const int64_t num_taps = m.size * m.size * m.size;
  const bool by_shift = (m.fine_stride & (m.fine_stride - 1)) == 0;
  const int shift = __builtin_ctzll(m.fine_stride);
  const auto steps = [&](int64_t delta) {
    return by_shift ? delta >> shift : delta / m.fine_stride;
  };
  for (int64_t i = 0; i < m.num_fine; ++i) {
    // Fields do not borrow from each other: a child is nowhere less than its parent.
    const int64_t delta = m.keys[i] - m.coarse_keys[m.parents[i]];
    const int64_t x = steps(delta >> (2 * kAxisBits));
    const int64_t y = steps((delta >> kAxisBits) & kAxisMask);
    const int64_t z = steps(delta & kAxisMask);
    visit(i, m.parents[i] / kBlockRows * num_taps + (z * m.size + y) * m.size + x);
  }
}

}  // namespace

std::vector<int64_t> find_slabs(const int64_t* keys, int64_t num_keys, int64_t stride) {
  const Floor floor(stride);
  std::vector<int64_t> begins;
  for (int64_t i = 0; i < num_keys;) {
    begins.push_back(i);
    const int64_t next = coarse_slab(slab_of(keys[i]), floor) + stride;
    i = std::lower_bound(keys + i, keys + num_keys, next << (2 * kAxisBits)) - keys;
  }
  begins.push_back(num_keys);
  return begins;
}

void downsample_slabs(const int64_t* keys, const int64_t* begins, int64_t num_slabs, int64_t stride,
                      int64_t* slab_keys, int64_t* counts, int32_t* parents,
                      const Parallel& parallel) {
  const Floor floor(stride);
  parallel.tasks(num_slabs, [&](int64_t slab) {
    counts[slab] = downsample_slab(keys, begins[slab], begins[slab + 1], floor,
                                   slab_keys + begins[slab], parents);
  });
}

void join_slabs(const int64_t* slab_keys, const int64_t* begins, const int64_t* counts,
                const int64_t* firsts, int64_t num_slabs, int64_t* coarse_keys, int32_t* coords,
                int32_t* parents, const Parallel& parallel) {
  parallel.tasks(num_slabs, [&](int64_t slab) {
    const int64_t* keys = slab_keys + begins[slab];
    const int64_t first = firsts[slab];
    for (int64_t i = 0; i < counts[slab]; ++i) {
      coarse_keys[first + i] = keys[i];
      unpack_key(keys[i], coords + 4 * (first + i));
    }
    for (int64_t i = begins[slab]; i < begins[slab + 1]; ++i)
      parents[i] += static_cast<int32_t>(first);
  });
}

void count_children(const ParentMap& map, int64_t* counts) {
  walk_children(map, [&](int64_t, int64_t group) { ++counts[group]; });
}

void fill_children(const ParentMap& map, int64_t* begins, int32_t* in_rows, int32_t* out_rows) {
  walk_children(map, [&](int64_t i, int64_t group) {
    const int64_t pair = begins[group]++;
    in_rows[pair] = static_cast<int32_t>(i);
    out_rows[pair] = map.parents[i];
  });
}

}  // namespace pointseg::cpu
