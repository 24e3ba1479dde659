// Bound by the gathered rows of queries: pairs * heads * sizeof(T) bytes, or a sector of L2 a pair.
#include "codebook_logits.h"

#include "staged_weights.h"

namespace pointseg::cuda {
namespace {

template <typename T, int V>
struct Correlate {
  static constexpr int kLanes = V;
  using S = Sum<T>;
  using Row = Lanes<T, V>;

  LogitsArgs<T> args;
  T* logits;

  POINTSEG_DEVICE void operator()(int64_t row, int64_t vector, const WeightLanes<S, V>& scale,
                                  int64_t scale_stride) const {
    correlate<Row>(
        args.lists, row, args.rows + vector * V, args.groups, args.heads, scale, scale_stride,
        [&](int64_t entry, const Row& logit) {
          logit.store(logits + (row * args.lists.num_entries + entry) * args.heads + vector * V);
        });
  }
};

template <typename T, int V>
struct QueriesGrad {
  static constexpr int kLanes = V;
  using S = Sum<T>;
  using Row = Lanes<T, V>;

  LogitsArgs<T> args;
  T* grad_queries;

  POINTSEG_DEVICE void operator()(int64_t row, int64_t vector, const WeightLanes<S, V>& scale,
                                  int64_t scale_stride) const {
    T* to = grad_queries + row * args.groups * args.heads + vector * V;
    Row total = Row::zero();
    correlate_queries_grad<Row>(args.lists, row, args.rows + vector * V, args.heads, scale,
                                scale_stride, [&](int64_t entry, const Row& sum) {
                                  if (args.groups != 1)
                                    sum.store(to + entry * args.heads);
                                  else
                                    total.add(sum);
                                });
    if (args.groups == 1) total.store(to);
  }
};

template <template <typename, int> class Op, typename T>
Status over_heads(const LogitsArgs<T>& args, T* to, Stream stream) {
  return with_lanes<T>(
      args.heads, args.num_weight_rows,
      [&]<int V>() {
        return launch_over_rows(Op<T, V>{args, to}, args.scale, args.num_weight_rows, args.heads,
                                args.lists.num_rows, stream);
      },
      args.rows, to, args.scale);
}

}  // namespace

template <typename T>
Status codebook_logits(const LogitsArgs<T>& args, T* logits, Stream stream) {
  return over_heads<Correlate>(args, logits, stream);
}

template <typename T>
Status codebook_logits_queries_grad(const LogitsArgs<T>& args, T* grad_queries, Stream stream) {
  return over_heads<QueriesGrad>(args, grad_queries, stream);
}

#define POINTSEG_LOGITS(T)                                           \
  template Status codebook_logits(const LogitsArgs<T>&, T*, Stream); \
  template Status codebook_logits_queries_grad(const LogitsArgs<T>&, T*, Stream);
POINTSEG_LOGITS(float)
POINTSEG_LOGITS(double)
POINTSEG_LOGITS(Half)
POINTSEG_LOGITS(Bfloat16)
#undef POINTSEG_LOGITS

}  // namespace pointseg::cuda
