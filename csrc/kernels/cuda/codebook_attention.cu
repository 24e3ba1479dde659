// Bound by the gathered rows: pairs * channels * sizeof(T) bytes, most of them from L2.
#include "codebook_attention.h"

#include "staged_weights.h"

namespace pointseg::cuda {
namespace {

template <typename T, int V, bool kMirrored>
struct Attend {
  static constexpr int kLanes = V;
  using S = Sum<T>;
  using Row = Lanes<T, V>;

  AttentionArgs<T> args;
  int64_t vectors_of_head;
  T* out;

  POINTSEG_DEVICE void operator()(int64_t row, int64_t vector, const WeightLanes<S, V>& weight,
                                  int64_t weight_stride) const {
    const HeadChoice<T, V> choice{args.choice, vector / vectors_of_head};
    const T* from = args.rows + vector * V;
    Row sum;
    if constexpr (kMirrored) {
      sum = attend_values_grad<Row>(args.lists, row, from, args.channels, weight, weight_stride,
                                    choice);
    } else {
      sum = attend<Row>(args.lists, row, from, args.channels, weight, weight_stride, choice);
    }
    sum.store(out + row * args.channels + vector * V);
  }
};

template <bool kMirrored, typename T>
Status attend_all(const AttentionArgs<T>& args, T* out, Stream stream) {
  const int64_t width = args.channels / args.choice.heads;
  return with_lanes<T>(
      width, args.num_weight_rows,
      [&]<int V>() {
        return launch_over_rows(Attend<T, V, kMirrored>{args, width / V, out}, args.weight,
                                args.num_weight_rows, args.channels, args.lists.num_rows, stream);
      },
      args.rows, out, args.weight);
}

// A team of lanes, a power of two of them, adds up the channels of one head of one voxel.
template <typename T, int V>
struct ChoiceGrad {
  static constexpr int kThreads = kRowThreads;
  static constexpr int kBlocksPerSm = 4;
  using S = Sum<T>;
  using Row = Lanes<T, V>;
  using Shared = StagedWeights<S>;

  AttentionArgs<T> args;
  const T* grad_out;
  void* grad_choice;
  int vectors_of_head;
  int team;
  RowPlan plan;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t first_vector = t.part() * plan.slice_vectors;
    const auto vectors =
        static_cast<int>(std::min(plan.slice_vectors, plan.vectors - first_vector));
    const SliceWeights<S, V> weights =
        stage<V, false>(t, args.weight, args.num_weight_rows, plan, first_vector, vectors);
    const int64_t first_row = t.block() * plan.rows_of_block;
    const int64_t rows = std::min(plan.rows_of_block, args.lists.num_rows - first_row);
    const int heads = vectors / vectors_of_head, teams = kThreads / team;
    const int items = static_cast<int>(rows) * heads;
    // Lanes without an item go along with the others: all have to meet where a team adds up.
    for (int begin = 0; begin < items; begin += teams) {
      const int item = begin + t.thread() / team;
      const int at = std::min(item, items - 1);
      add_up(t, first_row + at / heads, first_vector / vectors_of_head + at % heads,
             at % heads * vectors_of_head, weights, item < items);
    }
  }

 private:
  template <class Thread>
  POINTSEG_DEVICE void add_up(Thread& t, int64_t row, int64_t head, int64_t head_vector,
                              const SliceWeights<S, V>& weights, bool there) const {
    const int64_t first = head * vectors_of_head * V;
    const int lane = t.thread() % team;
    attend_choice_grad<Row>(
        args.lists, row, args.rows + first, grad_out + first, args.channels,
        [&](int64_t channel) { return weights.at(head_vector + channel / V); }, weights.row_stride,
        lane * V, team * V, vectors_of_head * V,
        [&](int64_t entry, const Row& products) {
          S sum = products.sum();
          for (int step = team / 2; step > 0; step /= 2) sum += t.shuffle_xor(sum, step);
          if (!there || lane != 0) return;
          const int64_t i = (row * args.lists.num_entries + entry) * args.choice.heads + head;
          if (args.choice.wide) {
            static_cast<S*>(grad_choice)[i] = sum;
          } else {
            static_cast<T*>(grad_choice)[i] = rounded<T>(sum);
          }
        });
  }
};

}  // namespace

template <typename T>
Status codebook_attention(const AttentionArgs<T>& args, T* out, Stream stream) {
  return attend_all<false>(args, out, stream);
}

template <typename T>
Status codebook_attention_values_grad(const AttentionArgs<T>& args, T* grad_values, Stream stream) {
  return attend_all<true>(args, grad_values, stream);
}

template <typename T>
Status codebook_attention_choice_grad(const AttentionArgs<T>& args, const T* grad_out,
                                      void* grad_choice, Stream stream) {
  const int64_t heads = args.choice.heads, width = args.channels / heads;
  return with_lanes<T>(
      width, 0,
      [&]<int V>() {
        const int64_t vectors = width / V;
        const RowPlan plan = plan_rows(args.lists.num_rows, args.num_weight_rows, vectors, heads,
                                       V * sizeof(Sum<T>));
        int team = 1;
        while (team < vectors && team < kWarp) team *= 2;
        return launch(
            ChoiceGrad<T, V>{args, grad_out, grad_choice, static_cast<int>(vectors), team, plan},
            Grid{plan.blocks, plan.slices}, stream);
      },
      args.rows, grad_out, args.weight);
}

#define POINTSEG_ATTENTION(T)                                                          \
  template Status codebook_attention(const AttentionArgs<T>&, T*, Stream);             \
  template Status codebook_attention_values_grad(const AttentionArgs<T>&, T*, Stream); \
  template Status codebook_attention_choice_grad(const AttentionArgs<T>&, const T*, void*, Stream);
POINTSEG_ATTENTION(float)
POINTSEG_ATTENTION(double)
POINTSEG_ATTENTION(Half)
POINTSEG_ATTENTION(Bfloat16)
#undef POINTSEG_ATTENTION

}  // namespace pointseg::cuda
