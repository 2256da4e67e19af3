// Stands in for CUDA's header of this name: `half`, converted by the CPU, computed with as float.
#pragma once
#include <cstring>
struct __half_raw { unsigned short x; };
struct half {
  unsigned short bits;
  half() {}
  half(float v) { _Float16 h = (_Float16)v; memcpy(&bits, &h, 2); }
  explicit half(double v) { _Float16 h = (_Float16)v; memcpy(&bits, &h, 2); }
  explicit half(bool v) : half(float(v)) {}
  explicit half(int v) : half(float(v)) {}
  explicit half(unsigned v) : half(float(v)) {}
  explicit half(long long v) : half(float(v)) {}
  explicit half(unsigned long long v) : half(float(v)) {}
  explicit half(const __half_raw& raw) : bits(raw.x) {}
  operator float() const { _Float16 h; memcpy(&h, &bits, 2); return (float)h; }
  operator __half_raw() const { return __half_raw{bits}; }
};
typedef half __half;
static inline unsigned short __half_as_ushort(half h) { return h.bits; }
static inline half __ushort_as_half(unsigned short u) { half h; h.bits = u; return h; }
static inline float __half2float(half h) { return h; }
static inline half __float2half(float v) { return half(v); }
