// How sums of a fused convolution end: with bias, residual, ReLU and one rounding.
#pragma once

#include <cstdint>

#include "numbers.h"

namespace pointseg::cuda {

// How a row of sums becomes a row of the result.
template <typename T>
struct ConvEnd {
  const float* bias;  // [columns] or null
  const T* residual;  // [rows, columns] or null
  T* out;             // [rows, columns]
  int64_t columns;
  bool relu;
  bool in_pieces;  // whether a piece of a row is aligned, in `out` and `residual`

  // Writes a piece, of which numbers beyond the last column are left out.
  POINTSEG_HD void operator()(const Pack<float, kPiece<T>>& sums, int64_t row,
                              int64_t column) const {
    const int64_t at = row * columns + column;
    if (in_pieces) {
      Pack<T, kPiece<T>> added{}, piece;
      if (residual != nullptr) added = load_pack<kPiece<T>>(residual + at);
      for (int i = 0; i < kPiece<T>; ++i) piece.v[i] = finished(sums.v[i], column + i, added.v[i]);
      store_pack(out + at, piece);
      return;
    }
    for (int i = 0; i < kPiece<T> && column + i < columns; ++i)
      out[at + i] = finished(sums.v[i], column + i, residual == nullptr ? T{} : residual[at + i]);
  }

 private:
  POINTSEG_HD T finished(float sum, int64_t column, T added) const {
    if (bias != nullptr) sum += bias[column];
    if (residual != nullptr) sum += widened(added);
    return rounded<T>(relu && sum < 0 ? 0.f : sum);
  }
};

}  // namespace pointseg::cuda
