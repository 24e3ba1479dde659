// The fibers of `emulated_thread.h`.
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../cuda/executor.h"

namespace pointseg::cuda {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr int64_t kGuardBytes = 256;

}  // namespace

// Two ways to switch stacks: the registers that a call preserves, pushed and popped; where that is
// not written for the processor, the C library's, with a system call each.
#if defined(__x86_64__)

extern "C" void pointseg_switch_stack(void** from, void* to);
asm(R"(
.text
.hidden pointseg_switch_stack
.globl pointseg_switch_stack
.type pointseg_switch_stack, @function
pointseg_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size pointseg_switch_stack, .-pointseg_switch_stack
)");

namespace {

void switch_stack(void** from, void* to) { pointseg_switch_stack(from, to); }

// A stack on which `start` begins as if it had been called.
void* new_stack(std::byte* stack, void (*start)()) {
  auto* top = reinterpret_cast<void**>(stack + kStackBytes);
  *--top = nullptr;  // start never returns; also aligns its frame
  *--top = reinterpret_cast<void*>(start);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  return top;
}

}  // namespace

#else

namespace {

void switch_stack(void** from, void* to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}

void* new_stack(std::byte* stack, void (*start)()) {
  auto* context = reinterpret_cast<ucontext_t*>(stack);
  getcontext(context);
  context->uc_stack.ss_sp = stack + sizeof(ucontext_t);
  context->uc_stack.ss_size = kStackBytes - sizeof(ucontext_t);
  context->uc_link = nullptr;
  makecontext(context, start, 0);
  return context;
}

}  // namespace

#endif

EmulatedBlock& emulated_block() {
  static thread_local EmulatedBlock block;
  return block;
}

bool descending_order() {
  const char* order = std::getenv("POINTSEG_EMULATED_ORDER");
  return order != nullptr && std::strcmp(order, "descending") == 0;
}

void EmulatedBlock::start() {
  EmulatedBlock& block = emulated_block();
  Fiber& fiber = block.fibers_[block.running_];
  try {
    block.body_(block.context_, block.running_);
  } catch (const std::exception& error) {
    if (block.error_.empty())
      block.error_ = "thread " + std::to_string(block.running_) + ": " + error.what();
  }
  fiber.barrier = Barrier::done;
  switch_stack(&fiber.stack_pointer, block.scheduler_);
}

void EmulatedBlock::prepare(Fiber& fiber) {
  if (!fiber.stack) fiber.stack.reset(new std::byte[kStackBytes]);
  fiber.stack_pointer = new_stack(fiber.stack.get(), &EmulatedBlock::start);
  fiber.barrier = Barrier::none;
}

void EmulatedBlock::run(int num_threads, bool descending, void (*body)(void*, int), void* context) {
  if (static_cast<int>(fibers_.size()) < num_threads) fibers_.resize(num_threads);
  body_ = body;
  context_ = context;
  error_.clear();
  for (int t = 0; t < num_threads; ++t) prepare(fibers_[t]);
  const int num_warps = num_threads / kWarp;
  do {
    for (int w = 0; w < num_warps && error_.empty(); ++w)
      run_warp((descending ? num_warps - 1 - w : w) * kWarp, descending);
  } while (error_.empty() && release_block(num_threads));
  if (!error_.empty()) throw std::logic_error("emulated GPU: " + error_);
}

// Runs the warp of the thread `first` for as long as it needs no other: warps that meet at their
// own barriers only are ordered by nothing, and must not look as if they were.
void EmulatedBlock::run_warp(int first, bool descending) {
  do {
    for (int lane = 0; lane < kWarp; ++lane) {
      running_ = first + (descending ? kWarp - 1 - lane : lane);
      if (fibers_[running_].barrier == Barrier::none)
        switch_stack(&scheduler_, fibers_[running_].stack_pointer);
      if (!error_.empty()) return;
    }
  } while (release_warp(first));
}

void EmulatedBlock::wait(Barrier barrier) {
  Fiber& fiber = fibers_[running_];
  fiber.barrier = barrier;
  switch_stack(&fiber.stack_pointer, scheduler_);
}

// Lets the lanes go on if all of them have come to a barrier of the warp.
bool EmulatedBlock::release_warp(int first) {
  const auto lanes = fibers_.begin() + first;
  const auto waits = [](const Fiber& fiber) { return fiber.barrier == Barrier::warp; };
  if (!std::all_of(lanes, lanes + kWarp, waits)) return false;
  for (auto fiber = lanes; fiber != lanes + kWarp; ++fiber) fiber->barrier = Barrier::none;
  return true;
}

// Lets all threads go on from a barrier of the block. False when they are done, or never will be.
bool EmulatedBlock::release_block(int num_threads) {
  int num_done = 0, num_at_block = 0;
  for (int t = 0; t < num_threads; ++t) {
    num_at_block += fibers_[t].barrier == Barrier::block;
    num_done += fibers_[t].barrier == Barrier::done;
  }
  if (num_done == num_threads) return false;
  if (num_at_block < num_threads) {
    error_ = "of " + std::to_string(num_threads) + " threads " + std::to_string(num_at_block) +
             " wait for the block, " + std::to_string(num_done) +
             " have returned, and the others wait for lanes that do not come";
    return false;
  }
  for (int t = 0; t < num_threads; ++t) fibers_[t].barrier = Barrier::none;
  return true;
}

std::byte* EmulatedBlock::fresh_memory(int64_t size, bool descending) {
  memory_.resize(size + 2 * kGuardBytes + 128);
  // NaN and -1, or large numbers and indices far outside.
  std::fill(memory_.begin(), memory_.end(), std::byte(descending ? 0xcd : 0xff));
  const auto first = reinterpret_cast<uintptr_t>(memory_.data() + kGuardBytes);
  shared_ = reinterpret_cast<std::byte*>((first + 127) / 128 * 128);
  shared_size_ = size;
  std::fill(shared_ - kGuardBytes, shared_, std::byte{0x5a});
  std::fill(shared_ + size, shared_ + size + kGuardBytes, std::byte{0x5a});
  return shared_;
}

void EmulatedBlock::check_guards() const {
  const auto untouched = [](std::byte b) { return b == std::byte{0x5a}; };
  if (!std::all_of(shared_ - kGuardBytes, shared_, untouched) ||
      !std::all_of(shared_ + shared_size_, shared_ + shared_size_ + kGuardBytes, untouched))
    throw std::logic_error("emulated GPU: a write beside the shared memory of a block");
}

}  // namespace pointseg::cuda
