// What `Lanes`, `Weight` and `Choice` of the bodies in `codebook.h` are for a thread of a GPU.
#pragma once

#include "executor.h"

namespace pointseg::cuda {

// The weights of V channels in a row: in pieces of at most 16 bytes, `step` elements apart.
template <typename S, int V>
struct WeightLanes {
  static constexpr int kPiece = V * sizeof(S) > 16 ? 16 / sizeof(S) : V;

  const S* first;
  int64_t step;

  POINTSEG_DEVICE WeightLanes operator+(int64_t offset) const { return {first + offset, step}; }
};

// V channels in a row, widened: stored as T, and as one number of V * sizeof(T) bytes.
template <typename T, int V>
struct Lanes {
  using S = Sum<T>;
  using Weights = WeightLanes<S, V>;

  S v[V];

  POINTSEG_DEVICE static Lanes filled(S value) {
    Lanes lanes;
    for (int i = 0; i < V; ++i) lanes.v[i] = value;
    return lanes;
  }
  POINTSEG_DEVICE static Lanes zero() { return filled(S(0)); }
  POINTSEG_DEVICE static Lanes load(const T* from) {
    const Pack<T, V> pack = load_pack<V>(from);
    Lanes lanes;
    for (int i = 0; i < V; ++i) lanes.v[i] = widened(pack.v[i]);
    return lanes;
  }
  POINTSEG_DEVICE static Lanes load(const Weights& from) {
    constexpr int kPiece = Weights::kPiece;
    Lanes lanes;
    for (int piece = 0; piece < V / kPiece; ++piece) {
      const Pack<S, kPiece> pack = load_pack<kPiece>(from.first + piece * from.step);
      for (int i = 0; i < kPiece; ++i) lanes.v[piece * kPiece + i] = pack.v[i];
    }
    return lanes;
  }
  POINTSEG_DEVICE void store(T* to) const {
    Pack<T, V> pack;
    for (int i = 0; i < V; ++i) pack.v[i] = rounded<T>(v[i]);
    store_pack(to, pack);
  }
  POINTSEG_DEVICE void add_product(const Lanes& a, const Lanes& b) {
    for (int i = 0; i < V; ++i) v[i] += a.v[i] * b.v[i];
  }
  POINTSEG_DEVICE void add(const Lanes& a) {
    for (int i = 0; i < V; ++i) v[i] += a.v[i];
  }
  POINTSEG_DEVICE S sum() const {
    S total = v[0];
    for (int i = 1; i < V; ++i) total += v[i];
    return total;
  }
};

template <typename T, int V>
POINTSEG_DEVICE Lanes<T, V> product(const Lanes<T, V>& a, const Lanes<T, V>& b) {
  Lanes<T, V> lanes;
  for (int i = 0; i < V; ++i) lanes.v[i] = a.v[i] * b.v[i];
  return lanes;
}

// Choices [rows, entries, heads] beside values of type T: of that type, too, or of Sum<T>.
template <typename T>
struct Choices {
  const void* data;
  bool wide;
  int64_t num_entries;
  int64_t heads;

  POINTSEG_DEVICE Sum<T> at(int64_t row, int64_t entry, int64_t head) const {
    const int64_t i = (row * num_entries + entry) * heads + head;
    return wide ? static_cast<const Sum<T>*>(data)[i] : widened(static_cast<const T*>(data)[i]);
  }
};

// Those of one head, whose channels all lanes are.
template <typename T, int V>
struct HeadChoice {
  const Choices<T>& choices;
  int64_t head;

  POINTSEG_DEVICE bool any(int64_t row, int64_t entry) const {
    return choices.at(row, entry, head) != Sum<T>(0);
  }
  POINTSEG_DEVICE Lanes<T, V> operator()(int64_t row, int64_t entry) const {
    return Lanes<T, V>::filled(choices.at(row, entry, head));
  }
};

// Whether lanes of V elements are aligned from this address on.
template <typename T>
bool aligned_for(int width, const T* first) {
  const int64_t bytes = width * sizeof(T) < 16 ? width * sizeof(T) : 16;
  return reinterpret_cast<uintptr_t>(first) % bytes == 0;
}

// What a block keeps of weights: eight blocks of an SM have as much, and threads enough to have
// many loads under way.
constexpr int64_t kStagedBytes = 24 * 1024;

// run.template operator()<V>() with the most lanes that a thread can take: V divides `channels`
// (those of a head, where lanes may not be of two), every address is aligned for V elements, and a
// block can keep V channels of as many weight rows as have to be kept.
template <typename T, class Run, class... Pointers>
Status with_lanes(int64_t channels, int64_t kept_rows, const Run& run,
                  const Pointers*... pointers) {
  constexpr int kFull = 16 / sizeof(T);
  const auto fits = [&](int width) {
    return channels % width == 0 && (aligned_for(width, pointers) && ...) &&
           kept_rows * width * static_cast<int64_t>(sizeof(Sum<T>)) <= kStagedBytes;
  };
  if (fits(kFull)) return run.template operator()<kFull>();
  if constexpr (kFull > 4)
    if (fits(4)) return run.template operator()<4>();
  return run.template operator()<1>();
}

}  // namespace pointseg::cuda
