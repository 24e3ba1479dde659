#include "executor_check.h"

#include "executor.h"

namespace pointseg::cuda {
namespace {

struct ExecutorCheck {
  static constexpr int kThreads = kCheckThreads;
  static constexpr int kWarps = kThreads / kWarp;
  struct Shared {
    Pack<int32_t, 4> copies[2][kThreads];
    // Rows are given out by pointer: here every second 16 bytes, in another order than the lanes'.
    Pack<int32_t, 4> rows[kWarps][2 * kWarp];
  };
  const CheckInput* inputs;
  CheckOutput* outputs;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const CheckInput& in = inputs[t.thread()];
    CheckOutput& out = outputs[(t.part() * t.blocks() + t.block()) * kThreads + t.thread()];
    tell_place(t, out);
    exchange(t, in, out);
    copy(t, in, out);
    load(t, in, out);
    multiply<Half>(t, in, 0, out);
    multiply<Bfloat16>(t, in, 1, out);
    multiply<Tf32>(t, in, 2, out);
  }

  template <class Thread>
  POINTSEG_DEVICE void tell_place(Thread& t, CheckOutput& out) const {
    out.thread = t.thread();
    out.warp = t.warp();
    out.lane = t.lane();
    out.block = static_cast<int32_t>(t.block());
    out.blocks = static_cast<int32_t>(t.blocks());
    out.part = static_cast<int32_t>(t.part());
    out.parts = static_cast<int32_t>(t.parts());
  }

  template <class Thread>
  POINTSEG_DEVICE void exchange(Thread& t, const CheckInput& in, CheckOutput& out) const {
    out.ballot = static_cast<int32_t>(t.ballot(in.vote != 0));
    out.shuffled = t.shuffle(in.value, in.from_lane);
    for (int bit = 0; bit < 5; ++bit) out.crossed[bit] = t.shuffle_xor(in.value, 1 << bit);
    const int64_t wide = (static_cast<int64_t>(in.from_lane) << 32) | t.lane();
    const int64_t other = t.shuffle(wide, in.from_lane);
    out.wide[0] = static_cast<int32_t>(other);
    out.wide[1] = static_cast<int32_t>(other >> 32);
  }

  template <class Thread>
  POINTSEG_DEVICE void copy(Thread& t, const CheckInput& in, CheckOutput& out) const {
    auto& shared = t.template shared<Shared>();
    for (int group = 0; group < 2; ++group) {
      t.copy_async(&shared.copies[group][t.thread()], in.copied[group], (in.there >> group) & 1);
      t.commit();
    }
    t.template wait<1>();
    store(shared.copies[0][t.thread()], out.early);
    t.template wait<0>();
    t.sync();
    store(shared.copies[1][(t.thread() + 1) % kThreads], out.late);
  }

  template <class Thread>
  POINTSEG_DEVICE void load(Thread& t, const CheckInput& in, CheckOutput& out) const {
    auto& rows = t.template shared<Shared>().rows[t.warp()];
    const int slot = 2 * ((5 * t.lane() + 3) % kWarp);
    for (int i = 0; i < 4; ++i) rows[slot].v[i] = in.matrix_row[i];
    t.warp_sync();
    uint32_t r[4];
    t.load_matrices(r, &rows[slot]);
    for (int i = 0; i < 4; ++i) out.matrices[i] = static_cast<int32_t>(r[i]);
    t.load_matrices_turned(r, &rows[slot]);
    for (int i = 0; i < 4; ++i) out.turned[i] = static_cast<int32_t>(r[i]);
  }

  template <typename T, class Thread>
  POINTSEG_DEVICE void multiply(Thread& t, const CheckInput& in, int which,
                                CheckOutput& out) const {
    float sum[4];
    uint32_t a[4], b[2];
    for (int i = 0; i < 4; ++i) sum[i] = same_bits<float>(in.sum[which][i]);
    for (int i = 0; i < 4; ++i) a[i] = static_cast<uint32_t>(in.a[which][i]);
    for (int i = 0; i < 2; ++i) b[i] = static_cast<uint32_t>(in.b[which][i]);
    t.template multiply<T>(sum, a, b);
    for (int i = 0; i < 4; ++i) out.product[which][i] = same_bits<int32_t>(sum[i]);
  }

  POINTSEG_DEVICE static void store(const Pack<int32_t, 4>& pack, int32_t* to) {
    for (int i = 0; i < 4; ++i) to[i] = pack.v[i];
  }
};

struct CheckNumbers {
  static constexpr int kThreads = 256;
  const int32_t* words;
  int64_t size;
  NumberCheck* results;

  template <class Thread>
  POINTSEG_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i >= size) return;
    const auto lower = static_cast<uint16_t>(words[i]);
    const float number = same_bits<float>(words[i]);
    results[i] = {same_bits<int32_t>(widened(Half{lower})),
                  same_bits<int32_t>(widened(Bfloat16{lower})), rounded<Half>(number).bits,
                  rounded<Bfloat16>(number).bits, static_cast<int32_t>(tf32_bits(number))};
  }
};

}  // namespace

Status executor_check(const CheckInput* inputs, CheckOutput* outputs, Stream stream) {
  return launch(ExecutorCheck{inputs, outputs}, Grid{kCheckBlocks, kCheckParts}, stream);
}

Status number_check(const int32_t* words, int64_t size, NumberCheck* results, Stream stream) {
  return launch(CheckNumbers{words, size, results}, num_blocks_for(size, CheckNumbers::kThreads),
                stream);
}

}  // namespace pointseg::cuda
