// How kernels run in parallel without knowing who owns the threads: the binding hands over its
// parallel-for as a plain function pointer.
#pragma once

#include <atomic>
#include <cstdint>

namespace pointseg {

class Parallel {
 public:
  using Body = void (*)(int64_t begin, int64_t end, void* context);
  using For = void (*)(int64_t begin, int64_t end, int64_t grain, Body body, void* context);

  Parallel(For run, int64_t num_threads) : run_(run), num_threads_(num_threads) {}

  int64_t num_threads() const { return num_threads_; }

  // fn(begin, end) over disjoint ranges that cover [0, size).
  template <class F>
  void ranges(int64_t size, int64_t grain, const F& fn) const {
    if (size <= 0) return;
    run_(
        0, size, grain,
        [](int64_t begin, int64_t end, void* context) {
          (*static_cast<const F*>(context))(begin, end);
        },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

  // fn(task) for every task in [0, count), each taken by whichever thread is free. The result may
  // not depend on who takes what: a task owns what it writes.
  template <class F>
  void tasks(int64_t count, const F& fn) const {
    std::atomic<int64_t> next{0};
    const int64_t workers = count < num_threads_ ? count : num_threads_;
    ranges(workers, 1, [&](int64_t, int64_t) {
      for (int64_t task = next++; task < count; task = next++) fn(task);
    });
  }

 private:
  For run_;
  int64_t num_threads_;
};

}  // namespace pointseg
