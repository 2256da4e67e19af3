// Philox4x64-10: see philox.py. Ten rounds of two 64-bit multiplications for eight words of 32 bits.

struct Words {
  unsigned long long word[4];
};

__device__ __forceinline__ unsigned word32(const Words& w, int i) { return unsigned(w.word[i / 2] >> (i % 2 * 32)); }

// A number in [0, 1) with 53 random bits.
__device__ __forceinline__ double uniform(unsigned long long word) { return (word >> 11) * 0x1p-53; }

// The block to draw from: in a CUDA graph, whose kernels have the same arguments each time, `moved` (else null) says by
// how many blocks the stream has moved on.
__device__ __forceinline__ unsigned long long first_block(unsigned long long block, const unsigned long long* moved) {
  return moved ? block + *moved : block;
}

__device__ __forceinline__ Words philox(unsigned long long key, unsigned long long block) {
  unsigned long long a = block + 1, b = 0, c = 0, d = 0, k = key, l = 0;
  for (int round = 0; round < 10; round++) {
    const unsigned long long high_a = __umul64hi(0xD2E7470EE14C6C93ull, a), low_a = 0xD2E7470EE14C6C93ull * a;
    const unsigned long long high_c = __umul64hi(0xCA5A826395121157ull, c), low_c = 0xCA5A826395121157ull * c;
    a = high_c ^ b ^ k;
    b = low_c;
    c = high_a ^ d ^ l;
    d = low_a;
    k += 0x9E3779B97F4A7C15ull;
    l += 0xBB67AE8584CAA73Bull;
  }
  return {{a, b, c, d}};
}
