#include "conv_weight_grad.h"

#include "executor.h"

namespace pointseg::cuda {
namespace {

template <typename S>
struct SumParts {
  static constexpr int kThreads = 256;
  const S* parts;
  int64_t num_parts;
  int64_t size;
  S* sum;
  bool onto;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= size) return;
    S total = onto ? sum[i] : S(0);
    for (int64_t part = 0; part < num_parts; ++part) total += parts[part * size + i];
    sum[i] = total;
  }
};

}  // namespace

template <typename S>
Status sum_parts(const S* parts, int64_t num_parts, int64_t size, S* sum, bool onto,
                 Stream stream) {
  return launch(SumParts<S>{parts, num_parts, size, sum, onto},
                num_blocks_for(size, SumParts<S>::kThreads), stream);
}

template Status sum_parts<float>(const float*, int64_t, int64_t, float*, bool, Stream);
template Status sum_parts<double>(const double*, int64_t, int64_t, double*, bool, Stream);

}  // namespace pointseg::cuda
