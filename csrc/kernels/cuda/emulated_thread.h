// Emulated GPU threads, which tests run kernels on where there is no GPU: see `executor.h`.
//
// The threads of a block are fibers of one processor thread; a barrier switches to the next one,
// and a warp runs until it waits for the block. What a GPU leaves open is made to hurt: shared
// memory starts out as junk, copies arrive as late as they may, and
// POINTSEG_EMULATED_ORDER=descending runs threads and blocks the other way round, with other junk,
// so that a race gives other bits. Lanes or threads that do not meet at a barrier, misaligned
// copies, and writes beyond shared memory throw std::logic_error.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace pointseg::cuda {

// Fibers that meet at barriers. Kept from launch to launch, for their stacks.
class EmulatedBlock {
 public:
  enum class Barrier : uint8_t { none, warp, block, done };

  // Calls body(context, thread) on `num_threads` fibers until all have returned.
  void run(int num_threads, bool descending, void (*body)(void*, int), void* context);

  // Of the running fiber: waits until all lanes of its warp, or all threads of the block, have
  // come to the same barrier.
  void wait(Barrier barrier);

  int running() const { return running_; }
  // Where a lane leaves what others of its warp read between two barriers.
  const void*& posted(int thread) { return fibers_[thread].posted; }

  // Junk for a new block, between guards that `check_guards` looks at.
  std::byte* fresh_memory(int64_t size, bool descending);
  void check_guards() const;

 private:
  struct Fiber {
    void* stack_pointer = nullptr;
    const void* posted = nullptr;
    Barrier barrier = Barrier::none;
    std::unique_ptr<std::byte[]> stack;
  };

  static void start();
  void prepare(Fiber& fiber);
  void run_warp(int first, bool descending);
  bool release_warp(int first);
  bool release_block(int num_threads);

  std::vector<Fiber> fibers_;
  void* scheduler_ = nullptr;
  int running_ = 0;
  void (*body_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::string error_;
  std::vector<std::byte> memory_;
  std::byte* shared_ = nullptr;
  int64_t shared_size_ = 0;
};

EmulatedBlock& emulated_block();
bool descending_order();

class EmulatedThread {
 public:
  EmulatedThread(EmulatedBlock& of, int thread, int64_t block, Grid grid, std::byte* memory)
      : of_(of),
        thread_(thread),
        block_(block % grid.blocks),
        part_(block / grid.blocks),
        grid_(grid),
        memory_(memory) {}

  int thread() const { return thread_; }
  int warp() const { return thread_ / kWarp; }
  int lane() const { return thread_ % kWarp; }
  int64_t block() const { return block_; }
  int64_t blocks() const { return grid_.blocks; }
  int64_t part() const { return part_; }
  int64_t parts() const { return grid_.parts; }

  template <class S>
  S& shared() {
    return *reinterpret_cast<S*>(memory_);
  }

  void sync() { of_.wait(EmulatedBlock::Barrier::block); }
  void warp_sync() { of_.wait(EmulatedBlock::Barrier::warp); }

  uint32_t ballot(bool p) {
    uint32_t bits = 0;
    exchange(&p, [&] {
      for (int lane = 0; lane < kWarp; ++lane)
        bits |= static_cast<uint32_t>(read<bool>(lane)) << lane;
    });
    return bits;
  }
  template <typename V>
  V shuffle(V value, int lane) {
    V other = value;
    exchange(&value, [&] { other = read<V>(lane & (kWarp - 1)); });
    return other;
  }
  template <typename V>
  V shuffle_xor(V value, int mask) {
    return shuffle(value, lane() ^ mask);
  }

  void copy_async(void* to, const void* from, bool there) {
    if (reinterpret_cast<uintptr_t>(to) % 16 || (there && reinterpret_cast<uintptr_t>(from) % 16))
      throw std::logic_error("copy_async: an address is not a multiple of 16");
    copies_.push_back({to, from, there, group_});
  }
  void commit() { ++group_; }
  template <int kGroups>
  void wait() {
    std::vector<Copy> later;
    for (const Copy& copy : copies_) {
      if (copy.group >= group_ - kGroups) {
        later.push_back(copy);
      } else if (copy.there) {
        memcpy(copy.to, copy.from, 16);
      } else {
        memset(copy.to, 0, 16);
      }
    }
    copies_.swap(later);
  }

  void load_matrices(uint32_t (&r)[4], const void* row) {
    exchange(row, [&] {
      for (int i = 0; i < 4; ++i)
        memcpy(&r[i], static_cast<const std::byte*>(posted(8 * i + lane() / 4)) + 4 * (lane() % 4),
               4);
    });
  }
  void load_matrices_turned(uint32_t (&r)[4], const void* row) {
    exchange(row, [&] {
      for (int i = 0; i < 4; ++i) {
        uint16_t pair[2];
        for (int j = 0; j < 2; ++j)
          memcpy(&pair[j],
                 static_cast<const std::byte*>(posted(8 * i + 2 * (lane() % 4) + j)) +
                     2 * (lane() / 4),
                 2);
        memcpy(&r[i], pair, 4);
      }
    });
  }

  template <typename T>
  void multiply(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    struct Fragments {
      const uint32_t* a;
      const uint32_t* b;
    } const mine{a, b};
    exchange(&mine, [&] {
      constexpr int kDepth = std::is_same_v<T, Tf32> ? 8 : 16;
      for (int i = 0; i < 4; ++i) {
        const int row = lane() / 4 + (i / 2) * 8, column = 2 * (lane() % 4) + i % 2;
        for (int k = 0; k < kDepth; ++k) {
          // Who holds element k of the row and of the column, and where.
          const int holder = kDepth == 8 ? k % 4 : (k % 8) / 2, upper = k >= kDepth / 2;
          const uint32_t from_a =
              read<Fragments>((row % 8) * 4 + holder).a[(row >= 8 ? 1 : 0) + 2 * upper];
          const uint32_t from_b = read<Fragments>(column * 4 + holder).b[upper];
          sum[i] += element<T>(from_a, k) * element<T>(from_b, k);
        }
      }
    });
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    bool there;
    int64_t group;
  };

  // What the lanes have posted, they read between two barriers.
  template <class Read>
  void exchange(const void* post, const Read& read) {
    of_.posted(thread_) = post;
    warp_sync();
    read();
    warp_sync();
  }
  const void* posted(int lane) { return of_.posted(warp() * kWarp + lane); }
  template <typename V>
  const V& read(int lane) {
    return *static_cast<const V*>(posted(lane));
  }

  template <typename T>
  static float element(uint32_t bits, int k) {
    if constexpr (std::is_same_v<T, Tf32>) {
      return same_bits<float>(bits & 0xffffe000u);
    } else {
      return widened(T{static_cast<uint16_t>(k % 2 ? bits >> 16 : bits)});
    }
  }

  EmulatedBlock& of_;
  int thread_;
  int64_t block_, part_;
  Grid grid_;
  std::byte* memory_;
  std::vector<Copy> copies_;
  int64_t group_ = 0;
};

template <class Body>
Status launch(const Body& body, Grid grid, Stream) {
  static_assert(Body::kThreads % kWarp == 0 && Body::kThreads <= 1024);
  static_assert(shared_bytes<Body>() <= 99 * 1024, "more than sm_86 and sm_89 have");
  EmulatedBlock& block = emulated_block();
  const bool descending = descending_order();
  struct Place {
    EmulatedBlock& block;
    const Body& body;
    Grid grid;
    int64_t index;
    std::byte* memory;
  };
  const int64_t blocks = grid.blocks > 0 && grid.parts > 0 ? grid.blocks * grid.parts : 0;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t index = descending ? blocks - 1 - i : i;
    std::byte* memory = block.fresh_memory(shared_bytes<Body>(), descending);
    Place place{block, body, grid, index, memory};
    block.run(
        Body::kThreads, descending,
        [](void* context, int thread) {
          const Place& at = *static_cast<const Place*>(context);
          EmulatedThread t(at.block, thread, at.index, at.grid, at.memory);
          at.body(t);
        },
        &place);
    block.check_guards();
  }
  return kSuccess;
}

template <class Body>
Status launch(const Body& body, int64_t blocks, Stream stream) {
  return launch(body, Grid{blocks}, stream);
}

}  // namespace pointseg::cuda
