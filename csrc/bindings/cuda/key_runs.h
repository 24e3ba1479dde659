// The distinct ones of some keys, found in two steps: how many there are, which only the device
// knows, then what they are.
#pragma once

#include "../../kernels/cuda/key_runs.h"
#include "arrays.h"

namespace pointseg {

class KeyRuns {
 public:
  // `keys`, of which `size` count, with their places 0, 1, ...; for `end_bit` see algorithms.h.
  KeyRuns(const Tensor& keys, const Tensor& places, cuda::DeviceSize size, int end_bit,
          const char* op, const OnDevice& device)
      : sorted_(sort_pairs(keys, places, end_bit, op, device)),
        sums_(empty(keys, {keys.size(0) + 1}, ScalarType::Long)),
        size_(size),
        op_(op) {
    check_launch(
        cuda::mark_runs(cptr<int64_t>(sorted_.keys), size, mptr<int64_t>(sums_), device.stream()),
        op, keys);
    exclusive_sum(sums_, op, device);
  }

  // The fine voxels of sorted `keys` by the voxel of `stride` that they are in.
  static KeyRuns of_coarser(const Tensor& keys, cuda::DeviceSize size, int64_t stride,
                            const char* op, const OnDevice& device) {
    Tensor rounded = empty(keys, {size.bound}, ScalarType::Long);
    Tensor places = empty(keys, {size.bound}, ScalarType::Int);
    check_launch(cuda::round_keys(cptr<int64_t>(keys), size, stride, mptr<int64_t>(rounded),
                                  mptr<int32_t>(places), device.stream()),
                 op, keys);
    return KeyRuns(rounded, places, size, 3 * kAxisBits + kBatchBits, op, device);
  }

  // On the device: how many runs there are.
  const int64_t* num_runs() const { return cptr<int64_t>(sums_) + sums_.size(0) - 1; }

  // Writes what is wanted of the runs.
  void fill(const cuda::RunArrays& arrays, const OnDevice& device) const {
    check_launch(cuda::fill_runs(cptr<int64_t>(sorted_.keys), cptr<int32_t>(sorted_.values),
                                 cptr<int64_t>(sums_), size_, arrays, device.stream()),
                 op_, sorted_.keys);
  }

 private:
  SortedPairs sorted_;
  Tensor sums_;
  cuda::DeviceSize size_;
  const char* op_;
};

}  // namespace pointseg
