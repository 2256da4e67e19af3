// The functions of CUDA's device library that our kernels and CuPy's generated ones call.
#pragma once
#include "threads.hpp"

using std::abs;
using std::erf;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::ptrdiff_t;
using std::signbit;
#define __CUDACC_VER_MAJOR__ 12

template <class A, class B> inline auto min(A a, B b) { return a < b ? a : b; }
template <class A, class B> inline auto max(A a, B b) { return a > b ? a : b; }
template <class T> inline T __ldg(const T* p) { return *p; }

static inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
static inline float rsqrt(float x) { return 1 / std::sqrt(x); }
static inline double rsqrt(double x) { return 1 / std::sqrt(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t(a) * b) >> 32; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}

template <class To, class From>
inline To bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}
static inline int __float_as_int(float x) { return bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return bits<unsigned>(x); }
static inline float __int_as_float(int x) { return bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return bits<float>(x); }
static inline long long __double_as_longlong(double x) { return bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return bits<double>(x); }

// All CUDA threads share one CPU thread, so that plain reads and writes are atomic; going through __atomic_* tells
// ThreadSanitizer that these accesses are no race.
template <class T, class F>
inline T atomic_update(T* p, F update) {
  T old, value;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  value = update(old);
  __atomic_store(p, &value, __ATOMIC_RELAXED);
  return old;
}
template <class T> inline T atomicAdd(T* p, T v) { return atomic_update(p, [=](T o) { return T(o + v); }); }
template <class T> inline T atomicMax(T* p, T v) { return atomic_update(p, [=](T o) { return o > v ? o : v; }); }
template <class T> inline T atomicMin(T* p, T v) { return atomic_update(p, [=](T o) { return o < v ? o : v; }); }
template <class T> inline T atomicExch(T* p, T v) { return atomic_update(p, [=](T) { return v; }); }
template <class T> inline T atomicCAS(T* p, T c, T v) { return atomic_update(p, [=](T o) { return o == c ? v : o; }); }
