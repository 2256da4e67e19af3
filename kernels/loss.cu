// Softmax cross-entropy; see loss.py. A warp (32 threads) takes a row of the logits. Losses of rows, lse and counts, which
// other kernels go on with, are Acc.

template <class Combine>
__device__ __forceinline__ Acc over_warp(Acc value, Combine combine) {
  for (int offset = 16; offset; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}
__device__ __forceinline__ Acc warp_sum(Acc value) {
  return over_warp(value, [](Acc a, Acc b) { return a + b; });
}

// log sum exp of a row.
__device__ __forceinline__ Acc log_sum_exp(const T* row, int C, int lane) {
  Acc largest = Acc(row[0]);
  for (int c = lane; c < C; c += 32) largest = max(largest, Acc(row[c]));
  largest = over_warp(largest, [](Acc a, Acc b) { return max(a, b); });
  Acc sum = 0;
  for (int c = lane; c < C; c += 32) sum += exp(Acc(row[c]) - largest);
  return log(warp_sum(sum)) + largest;
}

// y, lse, and the classes as class_labels has them, for classes t; notes one outside 0 .. C - 1 that is not ignore_index.
// Bytes: s (M C + 2 M) + 16 M. Operations: 5 M C, M C of them exponentials.
extern "C" __global__ void softmax_cross_entropy(const T* __restrict__ x, const long long* __restrict__ t, Acc* __restrict__ y,
                                                 Acc* __restrict__ lse, long long* __restrict__ labels, int M, int C,
                                                 Acc smoothing, long long ignore_index, Fault* fault) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int m = blockIdx.x * warps + threadIdx.x / 32; m < M; m += gridDim.x * warps) {
    const T* row = x + unsigned(m) * C;
    const Acc total = log_sum_exp(row, C, lane);
    Acc others = 0;
    for (int c = lane; smoothing != Acc(0) && c < C; c += 32) others += total - Acc(row[c]);
    others = warp_sum(others);
    if (lane == 0) {
      const long long label = t[m];
      const bool counts = label != ignore_index, valid = label >= 0 && label < C;
      if (counts && !valid) report(fault, CLASS_LABEL, int(label), C);
      const bool used = counts && valid;
      lse[m] = total;
      labels[m] = used ? label : -1;
      y[m] = used ? (1 - smoothing) * (total - Acc(row[label])) + smoothing / C * others : Acc(0);
    }
  }
}

// mean = the sum of y over the number of rows with a class, which is count. One block, so that one launch is enough.
// Bytes: (s + 8) M. Operations: 2 M.
extern "C" __global__ void counted_mean(const Acc* __restrict__ y, const long long* __restrict__ labels, T* __restrict__ mean,
                                        Acc* __restrict__ count, int M) {
  __shared__ Acc sums[32];
  __shared__ Acc counts[32];
  Acc sum = 0, n = 0;
  for (int m = threadIdx.x; m < M; m += blockDim.x) {
    sum += y[m];
    n += Acc(labels[m] >= 0);
  }
  sum = warp_sum(sum);
  n = warp_sum(n);
  if (threadIdx.x % 32 == 0) {
    sums[threadIdx.x / 32] = sum;
    counts[threadIdx.x / 32] = n;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < blockDim.x / 32; warp++) {
      sum += sums[warp];
      n += counts[warp];
    }
    *mean = T(sum / n);
    *count = n;
  }
}

// dx = dy (exp(x - lse) - q), 0 in rows with t < 0. dy lies `step` apart, 0 when all rows share one gradient, and is divided
// by `count` unless that is null.
// Bytes: s (2 M C + 2 M) + 8 M. Operations: 4 M C, M C of them exponentials.
extern "C" __global__ void softmax_cross_entropy_grad(const T* __restrict__ dy, const T* __restrict__ x,
                                                      const long long* __restrict__ t, const Acc* __restrict__ lse,
                                                      const Acc* __restrict__ count, T* __restrict__ dx, int M, int C,
                                                      int step, Acc smoothing) {
  FOR_EACH(i, unsigned(M) * C) {
    const int m = i / C, c = i % C;
    const Acc g = count ? Acc(dy[m * step]) / *count : Acc(dy[m * step]);
    const Acc q = (1 - smoothing) * Acc(c == t[m]) + smoothing / C;
    dx[i] = t[m] < 0 ? T(0) : T(g * (exp(Acc(x[i]) - lse[m]) - q));
  }
}

// y and lse for probabilities p.
// Bytes: s (2 M C + 2 M). Operations: 7 M C, M C of them exponentials.
extern "C" __global__ void soft_cross_entropy(const T* __restrict__ x, const T* __restrict__ p, T* __restrict__ y,
                                              Acc* __restrict__ lse, int M, int C, Acc smoothing) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int m = blockIdx.x * warps + threadIdx.x / 32; m < M; m += gridDim.x * warps) {
    const T *row = x + unsigned(m) * C, *targets = p + unsigned(m) * C;
    const Acc total = log_sum_exp(row, C, lane);
    Acc sum = 0;
    for (int c = lane; c < C; c += 32) sum += ((1 - smoothing) * Acc(targets[c]) + smoothing / C) * (total - Acc(row[c]));
    sum = warp_sum(sum);
    if (lane == 0) {
      lse[m] = total;
      y[m] = T(sum);
    }
  }
}

// dx = dy (exp(x - lse) (sum of q) - q) for probabilities p. dy lies `step` apart.
// Bytes: s (3 M C + 2 M). Operations: 7 M C, M C of them exponentials.
extern "C" __global__ void soft_cross_entropy_grad(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ p,
                                                   const Acc* __restrict__ lse, T* __restrict__ dx, int M, int C, int step,
                                                   Acc smoothing) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int m = blockIdx.x * warps + threadIdx.x / 32; m < M; m += gridDim.x * warps) {
    const T* targets = p + unsigned(m) * C;
    Acc sum = 0;
    for (int c = lane; c < C; c += 32) sum += (1 - smoothing) * Acc(targets[c]) + smoothing / C;
    sum = warp_sum(sum);
    for (int c = lane; c < C; c += 32) {
      const unsigned i = unsigned(m) * C + c;
      const Acc q = (1 - smoothing) * Acc(targets[c]) + smoothing / C;
      dx[i] = T(Acc(dy[m * step]) * (exp(Acc(x[i]) - lse[m]) * sum - q));
    }
  }
}

// Notes an element that is not in 0 .. 1. Bytes: s n. Operations: 2 n comparisons.
extern "C" __global__ void check_probabilities(const T* __restrict__ x, int n, Fault* fault) {
  FOR_EACH(i, unsigned(n)) {
    if (!(Acc(x[i]) >= Acc(0) && Acc(x[i]) <= Acc(1))) report(fault, PROBABILITY, 0, 0);
  }
}
