// Bound by reading the vectors, as long as there are few codes; then by the products.
#include "vector_quantize.h"

#include <algorithm>

#include "../nearest_code.h"
#include "executor.h"

namespace pointseg::cuda {
namespace {

// |code|^2 / 2 of every code.
template <typename S>
struct HalfNorms {
  static constexpr int kThreads = 128;

  const S* codes;
  int64_t dims;
  int64_t size;
  S* half_norms;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= size) return;
    S norm = 0;
    for (int64_t m = 0; m < dims; ++m) norm += codes[i * dims + m] * codes[i * dims + m] / 2;
    half_norms[i] = norm;
  }
};

// A thread has one vector, and scores some codes at a time, which the block keeps in shared memory,
// some dimensions at a time. Heads are the second dimension of the grid.
template <typename T>
struct Nearest {
  using S = Sum<T>;
  static constexpr int kThreads = 256;
  static constexpr int kEntries = 8;
  static constexpr int kDims = 256;

  struct alignas(16) Shared {
    S codes[kDims][kEntries];
  };

  QuantizeArgs<T> args;
  const S* half_norms;
  int64_t* index;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    Shared& shared = t.template shared<Shared>();
    const int64_t row = t.block() * kThreads + t.thread(), rows = args.rows;
    // Threads without a vector help to load codes.
    const int64_t mine = std::min(row, rows - 1);
    for (int64_t head = t.part(); head < args.heads; head += t.parts()) {
      const T* vector = args.vectors + (mine * args.heads + head) * args.dims;
      NearestCode<S> best;
      for (int64_t first = 0; first < args.entries; first += kEntries) {
        const auto entries = static_cast<int>(std::min<int64_t>(kEntries, args.entries - first));
        S scores[kEntries];
        for (int e = 0; e < kEntries; ++e)
          scores[e] = half_norms[head * args.entries + first + std::min(e, entries - 1)];
        for (int64_t from = 0; from < args.dims; from += kDims) {
          const auto dims = static_cast<int>(std::min<int64_t>(kDims, args.dims - from));
          const S* codes = args.codes + (head * args.entries + first) * args.dims + from;
          t.sync();
          for (int i = t.thread(); i < dims * kEntries; i += kThreads) {
            const int e = i / dims, m = i % dims;
            shared.codes[m][e] = e < entries ? codes[e * args.dims + m] : S(0);
          }
          t.sync();
          for (int m = 0; m < dims; ++m) {
            const S value = widened(vector[from + m]);
            for (int e = 0; e < kEntries; ++e) scores[e] -= value * shared.codes[m][e];
          }
        }
        for (int e = 0; e < kEntries; ++e)
          if (e < entries) best.offer(first + e, scores[e]);
      }
      if (row < rows) index[row * args.heads + head] = best.entry;
    }
  }
};

}  // namespace

template <typename T>
Status vector_quantize(const QuantizeArgs<T>& args, Sum<T>* half_norms, int64_t* index,
                       Stream stream) {
  using Norms = HalfNorms<Sum<T>>;
  const int64_t codes = args.heads * args.entries;
  const Status status = launch(Norms{args.codes, args.dims, codes, half_norms},
                               num_blocks_for(codes, Norms::kThreads), stream);
  if (status != kSuccess) return status;
  const int64_t blocks = num_blocks_for(args.rows, Nearest<T>::kThreads);
  return launch(Nearest<T>{args, half_norms, index},
                Grid{blocks, std::min<int64_t>(args.heads, 65535)}, stream);
}

#define POINTSEG_QUANTIZE(T) \
  template Status vector_quantize(const QuantizeArgs<T>&, Sum<T>*, int64_t*, Stream);
POINTSEG_QUANTIZE(float)
POINTSEG_QUANTIZE(double)
POINTSEG_QUANTIZE(Half)
POINTSEG_QUANTIZE(Bfloat16)
#undef POINTSEG_QUANTIZE

}  // namespace pointseg::cuda
