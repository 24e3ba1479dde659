#include "algorithms.h"

#if defined(POINTSEG_EMULATED)

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace pointseg::cuda {

int64_t sort_scratch(int64_t) { return 0; }
Status sort_pairs(void*, int64_t, const int64_t* keys_in, int64_t* keys_out,
                  const int32_t* values_in, int32_t* values_out, int64_t size, int end_bit,
                  Stream) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  // As a radix sort of the low bits would; with all bits the sign counts, too.
  const auto bits = [&](int64_t place) {
    const int64_t key = keys_in[place];
    return end_bit >= 64 ? key : key & ((int64_t{1} << end_bit) - 1);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return bits(a) < bits(b); });
  for (int64_t i = 0; i < size; ++i) {
    keys_out[i] = keys_in[order[i]];
    values_out[i] = values_in[order[i]];
  }
  return kSuccess;
}

int64_t exclusive_sum_scratch(int64_t) { return 0; }
Status exclusive_sum(void*, int64_t, const int64_t* values, int64_t* sums, int64_t size, Stream) {
  std::exclusive_scan(values, values + size, sums, int64_t{0});
  return kSuccess;
}

int64_t select_scratch(int64_t) { return 0; }
Status select_flagged(void*, int64_t, const int64_t* values, const uint8_t* flags,
                      int64_t* selected, int64_t* num_selected, int64_t size, Stream) {
  int64_t count = 0;
  for (int64_t i = 0; i < size; ++i)
    if (flags[i]) selected[count++] = values[i];
  *num_selected = count;
  return kSuccess;
}

}  // namespace pointseg::cuda

#else

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_select.cuh>

namespace pointseg::cuda {
namespace {

// Calls `run(scratch, bytes)` as cub wants to be asked for sizes: without scratch.
template <class Run>
int64_t scratch_of(const Run& run) {
  size_t bytes = 0;
  run(nullptr, bytes);
  return static_cast<int64_t>(bytes);
}

}  // namespace

int64_t sort_scratch(int64_t size) {
  return scratch_of([&](void* scratch, size_t& bytes) {
    cub::DeviceRadixSort::SortPairs(
        scratch, bytes, static_cast<const int64_t*>(nullptr), static_cast<int64_t*>(nullptr),
        static_cast<const int32_t*>(nullptr), static_cast<int32_t*>(nullptr), size);
  });
}

Status sort_pairs(void* scratch, int64_t scratch_bytes, const int64_t* keys_in, int64_t* keys_out,
                  const int32_t* values_in, int32_t* values_out, int64_t size, int end_bit,
                  Stream stream) {
  auto bytes = static_cast<size_t>(scratch_bytes);
  return cub::DeviceRadixSort::SortPairs(scratch, bytes, keys_in, keys_out, values_in, values_out,
                                         size, 0, end_bit, stream);
}

int64_t exclusive_sum_scratch(int64_t size) {
  return scratch_of([&](void* scratch, size_t& bytes) {
    cub::DeviceScan::ExclusiveSum(scratch, bytes, static_cast<const int64_t*>(nullptr),
                                  static_cast<int64_t*>(nullptr), size);
  });
}

Status exclusive_sum(void* scratch, int64_t scratch_bytes, const int64_t* values, int64_t* sums,
                     int64_t size, Stream stream) {
  auto bytes = static_cast<size_t>(scratch_bytes);
  return cub::DeviceScan::ExclusiveSum(scratch, bytes, values, sums, size, stream);
}

int64_t select_scratch(int64_t size) {
  return scratch_of([&](void* scratch, size_t& bytes) {
    cub::DeviceSelect::Flagged(scratch, bytes, static_cast<const int64_t*>(nullptr),
                               static_cast<const uint8_t*>(nullptr), static_cast<int64_t*>(nullptr),
                               static_cast<int64_t*>(nullptr), size);
  });
}

Status select_flagged(void* scratch, int64_t scratch_bytes, const int64_t* values,
                      const uint8_t* flags, int64_t* selected, int64_t* num_selected, int64_t size,
                      Stream stream) {
  auto bytes = static_cast<size_t>(scratch_bytes);
  return cub::DeviceSelect::Flagged(scratch, bytes, values, flags, selected, num_selected, size,
                                    stream);
}

}  // namespace pointseg::cuda

#endif
