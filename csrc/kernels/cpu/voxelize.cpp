#include "voxelize.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>
#include <vector>

#include "../packing.h"

namespace pointseg::cpu {
namespace {

constexpr int kMaxDigitBits = 11;

int bits_for(uint64_t largest) {
  int bits = 0;
  while (bits < 64 && (largest >> bits) != 0) ++bits;
  return bits;
}

// The fields of a set of keys squeezed to the bits that differ: a room needs 25, not 63, which
// saves half of the radix passes.
struct Squeeze {
  std::array<int32_t, 4> low;
  std::array<int, 4> shift;
  int bits;

  Squeeze(const int64_t* keys, int64_t n) {
    std::array<int32_t, 4> high, row;
    unpack_key(keys[0], low.data());
    high = low;
    for (int64_t i = 1; i < n; ++i) {
      unpack_key(keys[i], row.data());
      for (int f = 0; f < 4; ++f) {
        low[f] = std::min(low[f], row[f]);
        high[f] = std::max(high[f], row[f]);
      }
    }
    bits = 0;
    for (int f = 3; f >= 0; --f) {
      shift[f] = bits;
      bits += bits_for(static_cast<uint64_t>(int64_t{high[f]} - low[f]));
    }
  }

  uint64_t operator()(int64_t key) const {
    std::array<int32_t, 4> row;
    unpack_key(key, row.data());
    uint64_t squeezed = 0;
    for (int f = 0; f < 4; ++f)
      squeezed |= static_cast<uint64_t>(int64_t{row[f]} - low[f]) << shift[f];
    return squeezed;
  }
};

// One stable counting pass on `digit_bits` bits from `shift`.
void radix_pass(const KeyRow* from, KeyRow* to, int64_t n, int shift, int digit_bits) {
  const uint64_t mask = (uint64_t{1} << digit_bits) - 1;
  std::array<int64_t, (1 << kMaxDigitBits)> start{};
  for (int64_t i = 0; i < n; ++i) ++start[(from[i].key >> shift) & mask];
  int64_t sum = 0;
  for (int64_t& s : start) sum += std::exchange(s, sum);
  for (int64_t i = 0; i < n; ++i) to[start[(from[i].key >> shift) & mask]++] = from[i];
}

}  // namespace

int64_t pack_keys(const int32_t* coords, int64_t n, int64_t* keys, const Parallel& parallel) {
  std::atomic<int64_t> first_bad{n};
  parallel.ranges(n, 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (!in_key_range(coords + 4 * i)) {
        int64_t seen = first_bad.load();
        while (i < seen && !first_bad.compare_exchange_weak(seen, i)) {
        }
        return;
      }
      keys[i] = pack_key(coords + 4 * i);
    }
  });
  return first_bad.load() == n ? -1 : first_bad.load();
}

void sort_keys(const int64_t* keys, int64_t n, int64_t* sorted, int64_t* order, KeyRow* scratch) {
  if (std::is_sorted(keys, keys + n)) {
    for (int64_t i = 0; i < n; ++i) {
      sorted[i] = keys[i];
      order[i] = i;
    }
    return;
  }
  const Squeeze squeeze(keys, n);
  KeyRow* from = scratch;
  KeyRow* to = scratch + n;
  for (int64_t i = 0; i < n; ++i) from[i] = {squeeze(keys[i]), i};
  const int passes = (squeeze.bits + kMaxDigitBits - 1) / kMaxDigitBits;
  const int digit_bits = (squeeze.bits + passes - 1) / passes;
  for (int pass = 0; pass < passes; ++pass) {
    radix_pass(from, to, n, pass * digit_bits, digit_bits);
    std::swap(from, to);
  }
  for (int64_t i = 0; i < n; ++i) {
    order[i] = from[i].row;
    sorted[i] = keys[from[i].row];
  }
}

int64_t count_distinct(const int64_t* sorted, int64_t n) {
  int64_t count = n > 0 ? 1 : 0;
  for (int64_t i = 1; i < n; ++i) count += sorted[i] != sorted[i - 1];
  return count;
}

void distinct_runs(const int64_t* sorted, const int64_t* order, int64_t n, int64_t* voxel_keys,
                   int32_t* coords, int64_t* starts, int64_t* inverse) {
  int64_t voxel = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || sorted[i] != sorted[i - 1]) {
      ++voxel;
      voxel_keys[voxel] = sorted[i];
      unpack_key(sorted[i], coords + 4 * voxel);
      starts[voxel] = i;
    }
    inverse[order[i]] = voxel;
  }
  starts[voxel + 1] = n;
}

}  // namespace pointseg::cpu
