// CUDA's execution model on one CPU thread: the part that all kernels share, built once.
//
// Every CUDA thread of a block runs as a coroutine (a "fiber"). A thread that reaches a barrier parks until the
// others of its block (or warp) are there too. Most kernels have no barrier: their threads run one after the
// other on a single fiber. Blocks run one after the other, in an order that the caller chooses: a result that
// depends on it is a bug.
#include "threads.hpp"

#include <cstdarg>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#ifndef __x86_64__
#error "the switch between fibers is written for x86-64"
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

// Save the callee-saved registers and the stack pointer, and continue on another stack.
asm(R"(
.text
.local cpu_switch_stack
cpu_switch_stack:
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
)");
extern "C" void cpu_switch_stack(void** save, void* load) asm("cpu_switch_stack");

namespace cpu {

unsigned current;
char* dynamic_shared;

enum State { NEW, RUNNING, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };
const size_t STACK = 128 << 10, SHARED_LIMIT = 48 << 10;

struct Fiber {
  void* sp = nullptr;
  char* stack = nullptr;
  unsigned thread = 0;        // that it runs, or ran last
  void* fake_stack = nullptr;  // AddressSanitizer's
};
struct Thread {
  State state;
  unsigned mask;   // of the warp barrier it waits at
  int line;        // of the barrier it waits at
  uint64_t value;  // that it offers to a shuffle
  Fiber* fiber;
  void* tsan;  // ThreadSanitizer's idea of this thread
};

static std::vector<Thread> threads;
static std::vector<Fiber*> free_fibers;
static Fiber scheduler, *running;
static bool last_first, failed;
static bool lenient;  // threads that have returned may miss a barrier
static const Launch* launch_;
static void (*kernel_)(void**);
static char* static_shared[32];                // of this block, one per declaration
static std::vector<void*> kept;                // shared memory of earlier blocks, see new_block
static std::vector<char> block_meeting_points;  // addresses that ThreadSanitizer synchronises on: block, then warps
static char launch_meeting_point;

// ---- what the sanitizers must be told ----
#if defined(__SANITIZE_THREAD__)
// A switch of fibers orders nothing: only barriers do, so that a missing barrier is a race that shows.
UNCHECKED static void tsan_become(void* thread) { __tsan_switch_to_fiber(thread, __tsan_switch_to_fiber_no_sync); }
UNCHECKED static void tsan_release(void* where) { __tsan_release(where); }
UNCHECKED static void tsan_acquire(void* where) { __tsan_acquire(where); }
UNCHECKED static void* tsan_new() { return __tsan_create_fiber(0); }
UNCHECKED static void tsan_delete(void* thread) { __tsan_destroy_fiber(thread); }
static void* tsan_scheduler;
#else
static inline void tsan_become(void*) {}
static inline void tsan_release(void*) {}
static inline void tsan_acquire(void*) {}
static inline void* tsan_new() { return nullptr; }
static inline void tsan_delete(void*) {}
static void* const tsan_scheduler = nullptr;
#endif

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer must know which stack is in use: the scheduler's is the CPU thread's own.
static const void* scheduler_stack;
static size_t scheduler_stack_size;

UNCHECKED static void arrived(Fiber* here) {
  const void* stack;
  size_t size;
  __sanitizer_finish_switch_fiber(here->fake_stack, &stack, &size);  // those of the fiber that was left
  if (here != &scheduler) scheduler_stack = stack, scheduler_stack_size = size;
}
UNCHECKED static void leave(Fiber* from, Fiber* to) {
  const bool back = to == &scheduler;
  __sanitizer_start_switch_fiber(&from->fake_stack, back ? scheduler_stack : to->stack, back ? scheduler_stack_size : STACK);
}
#else
static inline void arrived(Fiber*) {}
static inline void leave(Fiber*, Fiber*) {}
#endif

UNCHECKED static void switch_fiber(Fiber* from, Fiber* to) {
  leave(from, to);
  cpu_switch_stack(&from->sp, to->sp);
  arrived(from);
}

// Record the first fault; the launch fails, and the fibers that were parked then are never resumed.
UNCHECKED static void fail(const char* format, ...) {
  if (failed) return;
  failed = true;
  int n = snprintf(launch_->message, launch_->message_size, "block (%u, %u, %u): ", blockIdx.x, blockIdx.y, blockIdx.z);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(launch_->message + n, launch_->message_size - n, format, arguments);
  va_end(arguments);
}

// ---- threads ----
UNCHECKED static unsigned in_order(unsigned k) { return last_first ? unsigned(threads.size()) - 1 - k : k; }

UNCHECKED static void become(unsigned thread) {
  current = thread;
  threadIdx.x = thread % blockDim.x;
  threadIdx.y = thread / blockDim.x % blockDim.y;
  threadIdx.z = thread / blockDim.x / blockDim.y;
}

UNCHECKED static void run_thread(unsigned thread) {
  Thread& t = threads[thread];
  t.state = RUNNING;
  t.fiber = running;
  running->thread = thread;
  become(thread);
  t.tsan = tsan_new();
  tsan_become(t.tsan);
  tsan_acquire(&launch_meeting_point);
  kernel_(launch_->arguments);
  tsan_release(&launch_meeting_point);
  tsan_become(tsan_scheduler);
  t.state = DONE;
}

static unsigned next_new;  // position, in order, of the first thread that has not started

UNCHECKED static void fiber_main() {
  arrived(running);
  for (;;) {
    while (next_new < threads.size() && !failed) run_thread(in_order(next_new++));
    Fiber* self = running;
    free_fibers.push_back(self);
    running = &scheduler;
    switch_fiber(self, &scheduler);
  }
}

UNCHECKED static Fiber* get_fiber() {
  if (!free_fibers.empty()) {
    Fiber* fiber = free_fibers.back();
    free_fibers.pop_back();
    return fiber;
  }
  Fiber* fiber = new Fiber;
  fiber->stack = (char*)malloc(STACK);
  // The first switch pops six registers and returns into fiber_main, with the stack aligned as after a call.
  void** top = (void**)((uintptr_t(fiber->stack) + STACK) & ~uintptr_t(15)) - 1;
  *--top = (void*)fiber_main;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber->sp = top;
  return fiber;
}

UNCHECKED static void resume(Fiber* fiber) {
  running = fiber;
  switch_fiber(&scheduler, fiber);
}

UNCHECKED static void park(State state, int line, unsigned mask = 0) {
  Thread& t = threads[current];
  t.state = state;
  t.line = line;
  t.mask = mask;
  Fiber* self = running;
  running = &scheduler;
  tsan_become(tsan_scheduler);
  switch_fiber(self, &scheduler);
}

// ---- barriers ----
UNCHECKED void block_barrier(int line) {
  tsan_release(&block_meeting_points[0]);
  park(AT_BLOCK_BARRIER, line);
  tsan_acquire(&block_meeting_points[0]);
}

UNCHECKED void warp_barrier(unsigned mask, int line) {
  char* meeting_point = &block_meeting_points[1 + current / 32];
  if (!(mask >> current % 32 & 1)) fail("lane %u calls a warp primitive (line %d) whose mask is without it", current % 32, line);
  tsan_release(meeting_point);
  park(AT_WARP_BARRIER, line, mask);
  tsan_acquire(meeting_point);
}

UNCHECKED uint64_t exchange_bits(unsigned mask, uint64_t value, int source, int line) {
  const unsigned warp = current & ~31u;
  threads[current].value = value;
  warp_barrier(mask, line);
  uint64_t result = value;  // a source outside the warp leaves the value as it is
  if (source >= 0 && source < 32 && warp + source < threads.size()) {
    if (!(mask >> source & 1)) fail("lane %u shuffles (line %d) from lane %d outside its mask", current % 32, line, source);
    result = threads[warp + source].value;
  }
  warp_barrier(mask, line);
  return result;
}

// Let go on each warp whose lanes have all met; true if there was one.
UNCHECKED static bool release_warps() {
  bool released = false;
  const unsigned n = threads.size();
  for (unsigned warp = 0; warp < n; warp += 32) {
    unsigned here = 0, wanted = 0, end = warp + 32 < n ? warp + 32 : n;
    for (unsigned i = warp; i < end; i++)
      if (threads[i].state == AT_WARP_BARRIER) here |= 1u << (i - warp), wanted |= threads[i].mask;
    if (end - warp < 32) wanted &= (1u << (end - warp)) - 1;
    if (!here || (here & wanted) != wanted) continue;
    for (unsigned i = warp; i < end; i++)
      if (threads[i].state == AT_WARP_BARRIER) threads[i].state = RUNNING;
    released = true;
  }
  return released;
}

// Let go on the whole block if all threads wait at one barrier; false when nothing is left to run.
UNCHECKED static bool release_block() {
  unsigned done = 0, waiting = 0;
  const unsigned n = threads.size();
  for (const Thread& t : threads) done += t.state == DONE, waiting += t.state == AT_BLOCK_BARRIER;
  if (done == n) return false;
  if (waiting == 0) return fail("%u threads wait for lanes that never reach their warp primitive", n - done), false;
  if (waiting + (lenient ? done : 0) < n) return fail("%u threads wait at __syncthreads, which %u others never reach", waiting, n - waiting), false;
  int line = 0;
  for (Thread& t : threads) {
    if (t.state == DONE) continue;
    if (line && t.line != line)
      return fail("threads of one block wait at different __syncthreads, lines %d and %d", line, t.line), false;
    line = t.line;
    t.state = RUNNING;
  }
  return true;
}

UNCHECKED static void run_block() {
  for (Thread& t : threads) t = Thread{NEW, 0, 0, 0, nullptr, nullptr};
  next_new = 0;
  do {
    for (unsigned k = 0; k < threads.size() && !failed; k++) {
      Thread& t = threads[in_order(k)];
      if (t.state == NEW) {
        resume(get_fiber());
      } else if (t.state == RUNNING) {
        become(in_order(k));
        tsan_become(t.tsan);
        resume(t.fiber);
      }
    }
  } while (!failed && (release_warps() || release_block()));
  for (Thread& t : threads)
    if (t.tsan) tsan_delete(t.tsan);
}

// ---- shared memory: of exactly the size asked for (AddressSanitizer guards its ends), full of NaN ----
UNCHECKED static char* poisoned(size_t bytes) {
  char* memory = (char*)malloc(bytes);
  for (size_t i = 0; i < bytes; i++) ((volatile char*)memory)[i] = -1;
  return memory;
}

// The memory of the index-th __shared__ declaration of the source; the first thread of a block makes it.
UNCHECKED char* shared_memory(size_t index, size_t bytes) {
  if (!static_shared[index]) {
    tsan_become(tsan_scheduler);  // to ThreadSanitizer an allocation is a write: not by one thread of the block
    static_shared[index] = poisoned(bytes);
    tsan_release(static_shared[index]);
    tsan_become(threads[current].tsan);
  }
  tsan_acquire(static_shared[index]);
  return static_shared[index];
}

UNCHECKED static void let_go(char*& memory) {
#if defined(__SANITIZE_THREAD__)
  if (memory) kept.push_back(memory);  // the next block must not meet this one at the same addresses: a race, to it
#else
  free(memory);
#endif
  memory = nullptr;
}

UNCHECKED static void new_block() {
  for (char*& memory : static_shared) let_go(memory);
  let_go(dynamic_shared);
  if (launch_->shared_bytes) dynamic_shared = poisoned(launch_->shared_bytes);
}

UNCHECKED static uint64_t gcd(uint64_t a, uint64_t b) { return b ? gcd(b, a % b) : a; }

// Which block runs k-th.
UNCHECKED static uint64_t block_in_order(uint64_t k, uint64_t count) {
  if (launch_->order == 0) return k;
  if (launch_->order == 1) return count - 1 - k;
  uint64_t stride = (launch_->order * 2654435761u) % count + 1;  // stepping by a number coprime to count visits all
  while (gcd(stride, count) != 1) stride++;
  return (k * stride + launch_->order) % count;
}

UNCHECKED int run(const Launch* launch, void (*kernel)(void**), bool is_lenient) {
  launch_ = launch;
  lenient = is_lenient;
  kernel_ = kernel;
  failed = false;
  last_first = launch->order == 1;
  gridDim = dim3(launch->grid[0], launch->grid[1], launch->grid[2]);
  blockDim = dim3(launch->block[0], launch->block[1], launch->block[2]);
  threads.resize(size_t(blockDim.x) * blockDim.y * blockDim.z);
#if defined(__SANITIZE_THREAD__)
  tsan_scheduler = __tsan_get_current_fiber();
#endif
  tsan_release(&launch_meeting_point);
  const uint64_t count = uint64_t(gridDim.x) * gridDim.y * gridDim.z;
  for (uint64_t k = 0; k < count && !failed; k++) {
    const uint64_t block = block_in_order(k, count);
    blockIdx.x = block % gridDim.x;
    blockIdx.y = block / gridDim.x % gridDim.y;
    blockIdx.z = block / gridDim.x / gridDim.y;
    new_block();
    // Fresh addresses for each block: what one block's barrier orders says nothing about another block.
    std::vector<char>(1 + (threads.size() + 31) / 32).swap(block_meeting_points);
    run_block();
  }
  tsan_acquire(&launch_meeting_point);
  for (void* memory : kept) free(memory);
  kept.clear();
  return failed;
}

}  // namespace cpu
