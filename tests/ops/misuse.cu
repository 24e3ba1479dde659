// Kernels that are wrong, each in one way that works by luck on some GPU: emulated threads must
// show it. See test_emulation.py.
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "kernels/cuda/executor.h"

namespace pointseg::cuda {
namespace {

constexpr int kSize = 64;

struct Kernel {
  static constexpr int kThreads = kSize;
  struct Shared {
    Pack<int32_t, 4> copies[kSize];
    int32_t values[kSize];
  };
  int32_t* out;
};

// The control: what none of the checks may mind.
struct Nothing : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    auto& shared = t.template shared<Shared>();
    shared.values[t.thread()] = t.thread();
    t.sync();
    out[t.thread()] = shared.values[(t.thread() + 1) % kSize];
  }
};

struct HalfAWarpVotes : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    if (t.lane() < 16) out[t.thread()] = t.ballot(true);
  }
};

struct OneWarpWaitsForTheBlock : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    if (t.warp() == 0) t.sync();
  }
};

struct LanesWaitAtDifferentBarriers : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    if (t.lane() < 16)
      t.sync();
    else
      t.warp_sync();
  }
};

struct WriteBehindSharedMemory : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    t.template shared<Shared>().values[t.thread() + 1] = 1;
  }
};

struct WriteBeforeSharedMemory : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    *(reinterpret_cast<int32_t*>(&t.template shared<Shared>()) - 1) = 1;
  }
};

struct CopyToAnOddAddress : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    auto& shared = t.template shared<Shared>();
    t.copy_async(&shared.copies[0].v[1], &shared.copies[0], true);
  }
};

struct CopyFromAnOddAddress : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    auto& shared = t.template shared<Shared>();
    t.copy_async(&shared.copies[0], &shared.copies[0].v[1], true);
  }
};

// The following run, and give something else than they should.

struct CopyWithoutWait : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    auto& copy = t.template shared<Shared>().copies[t.thread()];
    t.copy_async(&copy, nullptr, false);
    t.commit();
    out[t.thread()] = copy.v[0];
  }
};

struct CopyReadOneGroupEarly : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    auto& copy = t.template shared<Shared>().copies[t.thread()];
    t.copy_async(&copy, nullptr, false);
    t.commit();
    t.template wait<1>();
    out[t.thread()] = copy.v[0];
  }
};

struct SharedMemoryReadBeforeWritten : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    out[t.thread()] = t.template shared<Shared>().values[t.thread()];
  }
};

struct NeighborReadWithoutBarrier : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    auto& values = t.template shared<Shared>().values;
    values[t.thread()] = t.thread();
    t.warp_sync();  // not enough for the neighbor in the other warp
    out[t.thread()] = values[(t.thread() + kWarp) % kSize];
  }
};

struct BlocksWriteTheSameElement : Kernel {
  template <class Thread>
  void operator()(Thread& t) const {
    out[t.thread()] = static_cast<int32_t>(t.block());
  }
};

}  // namespace
}  // namespace pointseg::cuda

// Runs the kernel on two blocks; returns 1 and what was said if it was refused.
extern "C" __attribute__((visibility("default"))) int run(const char* kernel, int32_t* out,
                                                          char* said, int64_t said_size) {
  using namespace pointseg::cuda;
  const auto is = [kernel](const char* name) { return std::strcmp(kernel, name) == 0; };
  const auto go = [out](auto body) {
    body.out = out;
    launch(body, 2, Stream{});
  };
#define RUN(Name) \
  if (is(#Name)) return go(Name{}), 0
  try {
    RUN(Nothing);
    RUN(HalfAWarpVotes);
    RUN(OneWarpWaitsForTheBlock);
    RUN(LanesWaitAtDifferentBarriers);
    RUN(WriteBehindSharedMemory);
    RUN(WriteBeforeSharedMemory);
    RUN(CopyToAnOddAddress);
    RUN(CopyFromAnOddAddress);
    RUN(CopyWithoutWait);
    RUN(CopyReadOneGroupEarly);
    RUN(SharedMemoryReadBeforeWritten);
    RUN(NeighborReadWithoutBarrier);
    RUN(BlocksWriteTheSameElement);
    throw std::invalid_argument("no such kernel");
  } catch (const std::exception& error) {
    std::snprintf(said, said_size, "%s", error.what());
    return 1;
  }
}
