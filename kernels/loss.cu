// Softmax cross-entropy with class indices; see loss.py.

template <class Combine>
__device__ __forceinline__ T over_warp(T value, Combine combine) {
  for (int offset = 16; offset; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}

// y = lse - x[t] and lse = log sum exp x for each row; 0 where t < 0. A warp (32 threads) takes a row.
// Bytes: s (M C + 2 M) + 8 M. Operations: 4 M C, M C of them exponentials.
extern "C" __global__ void softmax_cross_entropy(const T* __restrict__ x, const long long* __restrict__ t, T* __restrict__ y,
                                                 T* __restrict__ lse, int M, int C) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int m = blockIdx.x * warps + threadIdx.x / 32; m < M; m += gridDim.x * warps) {
    const T* row = x + unsigned(m) * C;
    T largest = row[0];
    for (int c = lane; c < C; c += 32) largest = max(largest, row[c]);
    largest = over_warp(largest, [](T a, T b) { return max(a, b); });
    T sum = 0;
    for (int c = lane; c < C; c += 32) sum += exp(row[c] - largest);
    sum = over_warp(sum, [](T a, T b) { return a + b; });
    if (lane == 0) {
      const long long label = t[m];
      lse[m] = log(sum) + largest;
      y[m] = label >= 0 ? lse[m] - row[label] : T(0);
    }
  }
}

// dx = dy (exp(x - lse) - [c = t]), 0 in rows with t < 0. dy lies `step` apart: 0 when all rows share one gradient.
// Bytes: s (2 M C + 2 M) + 8 M. Operations: 3 M C, M C of them exponentials.
extern "C" __global__ void softmax_cross_entropy_grad(const T* __restrict__ dy, const T* __restrict__ x,
                                                      const long long* __restrict__ t, const T* __restrict__ lse,
                                                      T* __restrict__ dx, int M, int C, int step) {
  FOR_EACH(i, unsigned(M) * C) {
    const int m = i / C, c = i % C;
    dx[i] = t[m] < 0 ? T(0) : dy[m * step] * (exp(x[i] - lse[m]) - T(c == t[m]));
  }
}
