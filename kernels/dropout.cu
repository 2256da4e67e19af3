// Dropout; see dropout.py.
#include "philox.cuh"

// y[i] = scale x[i] where word i / shared of the stream is >= threshold, else 0; kept[i / shared] says which. A thread takes
// eight elements: with a draw for each, all words of one block.
// Bytes: 2 s n + n / shared. Operations: n multiplications, and about 40 n integer ones for the words.
extern "C" __global__ void dropout(const T* __restrict__ x, T* __restrict__ y, bool* __restrict__ kept, int n, int shared,
                                   Acc scale, long long threshold, unsigned long long key, unsigned long long block,
                                   const unsigned long long* __restrict__ moved) {
  block = first_block(block, moved);
  FOR_EACH(eight, (unsigned(n) + 7) / 8) {
    const unsigned first = eight * 8, end = min(first + 8, unsigned(n));
    unsigned made = first / shared / 8;
    Words words = philox(key, block + made);
    for (unsigned i = first; i < end; i++) {
      const unsigned draw = i / shared;
      if (draw / 8 != made) words = philox(key, block + ++made);
      const bool keep = word32(words, draw % 8) >= threshold;
      if (i % shared == 0) kept[draw] = keep;
      y[i] = keep ? T(scale * Acc(x[i])) : T(0);
    }
  }
}

// y[i] = scale x[i] where kept[i / shared], else 0.
// Bytes: 2 s n + n / shared. Operations: n multiplications.
extern "C" __global__ void dropout_kept(const T* __restrict__ x, const bool* __restrict__ kept, T* __restrict__ y, int n,
                                        int shared, Acc scale) {
  FOR_EACH(i, unsigned(n)) y[i] = kept[i / shared] ? T(scale * Acc(x[i])) : T(0);
}
