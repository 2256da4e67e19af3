// CUDA's execution model on one CPU thread, so that g++ can compile a .cu file and the CPU can run it: what a kernel
// sees of it. threads.cpp does it. compiler.py turns each `__shared__` declaration into a call of cpu::shared_array.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __constant__ static const
#define EXPORTED extern "C" __attribute__((externally_visible))  // what -fwhole-program leaves for others to call
#define UNCHECKED __attribute__((no_sanitize("thread"), no_sanitize("address")))

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

// What driver.c hands over for one launch.
struct Launch {
  unsigned grid[3], block[3];
  size_t shared_bytes;  // of dynamic shared memory
  void** arguments;
  unsigned order;  // 0 first block first, 1 last block first, more: the seed of a shuffle
  char* message;   // what went wrong, when a launch returns non-zero
  size_t message_size;
};

namespace cpu {

extern unsigned current;      // index of the running thread in its block
extern char* dynamic_shared;  // of this block

void block_barrier(int line);
void warp_barrier(unsigned mask, int line);
uint64_t exchange_bits(unsigned mask, uint64_t value, int source, int line);
char* shared_memory(size_t index, size_t bytes);
int run(const Launch* launch, void (*kernel)(void**), bool is_lenient);

// A shuffle: every lane offers a value, all meet, each reads one, all meet again.
template <class T>
UNCHECKED T exchange(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = exchange_bits(mask, bits, source, line);
  memcpy(&value, &bits, sizeof value);
  return value;
}

// The array of the index-th __shared__ declaration of the source.
template <class Array>
UNCHECKED Array& shared_array(size_t index) {
  return *(Array*)shared_memory(index, sizeof(Array));
}

// Call a kernel with CUDA's array of pointers to arguments.
template <class... A, size_t... I>
inline void unpack(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}
template <class... A>
inline void call(void (*kernel)(A...), void** arguments) {
  unpack(kernel, arguments, std::index_sequence_for<A...>());
}

}  // namespace cpu

#define __syncthreads() cpu::block_barrier(__LINE__)
#define __syncwarp(...) cpu::warp_barrier(~0u, __LINE__)
#define __shfl_sync(mask, value, source) cpu::exchange(mask, value, int((source) & 31), __LINE__)
#define __shfl_down_sync(mask, value, by) cpu::exchange(mask, value, int(cpu::current & 31) + int(by), __LINE__)
#define __shfl_xor_sync(mask, value, by) cpu::exchange(mask, value, int((cpu::current & 31) ^ (by)), __LINE__)
