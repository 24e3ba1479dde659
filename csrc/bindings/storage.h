// Storage types and the types arithmetic is done in.
//
// Half and BFloat16 are storage: an op widens its inputs to float32, computes from end to end, and
// rounds its result once.
#pragma once

#include "common.h"

namespace pointseg {

inline bool is_storage_only(ScalarType t) {
  return t == ScalarType::Half || t == ScalarType::BFloat16;
}

// What arithmetic on numbers of dtype `t` is done in.
inline ScalarType compute_dtype(ScalarType t) { return is_storage_only(t) ? ScalarType::Float : t; }

inline Tensor widen(const Tensor& t) {
  return is_storage_only(t.scalar_type()) ? torch::stable::to(t, ScalarType::Float) : t;
}

inline std::optional<Tensor> widen(const std::optional<Tensor>& t) {
  return t ? std::optional<Tensor>(widen(*t)) : std::nullopt;
}

// Rounds a result to the dtype it is stored in.
inline Tensor store_as(const Tensor& t, ScalarType dtype) {
  return t.scalar_type() == dtype ? t : torch::stable::to(t, dtype);
}

inline void check_feats(const Tensor& t, const char* name, int64_t dims = 2) {
  STD_TORCH_CHECK(t.dim() == dims, name, ": expected ", dims, " dimensions, got ", t.dim());
  STD_TORCH_CHECK(t.is_contiguous(), name, ": expected a contiguous tensor");
}

// A parameter in the dtype of feats, or in float32 beside 16-bit feats.
inline void check_parameter(const Tensor& t, const char* name, int64_t dims, ScalarType feats) {
  STD_TORCH_CHECK(
      t.scalar_type() == feats || (is_storage_only(feats) && t.scalar_type() == ScalarType::Float),
      name, ": expected dtype ", feats, ", got ", t.scalar_type());
  check_feats(t, name, dims);
}

inline void check_count(int64_t count, const char* name) {
  STD_TORCH_CHECK(count >= 0, name, ": expected a count, got ", count);
}

}  // namespace pointseg
