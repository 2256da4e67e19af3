// Biases and their gradients, and right answers; see bias.py. Sums of parts are put together by parts.cu.

// y[i] += b[i % O] unless b is null, then y[i] = max(y[i], 0) if `relu`; NaN stays NaN.
// Bytes: 2 s n + s O. Operations: n additions, n comparisons.
extern "C" __global__ void add_bias(T* __restrict__ y, const T* __restrict__ b, int n, int O, int relu) {
  FOR_EACH(i, unsigned(n)) {
    const Acc value = b ? Acc(y[i]) + Acc(b[i % O]) : Acc(y[i]);
    y[i] = T(relu && value < Acc(0) ? Acc(0) : value);
  }
}

// partial[part, c] = the sum over a part of the N images and all of their `area` pixels of dy. A block takes a
// channel of a part.
// Bytes: s n + s parts C. Operations: n additions.
extern "C" __global__ void channel_sums(const T* __restrict__ dy, Acc* __restrict__ partial, int N, int C, int area,
                                        int parts) {
  __shared__ Acc sums[32];
  const int size = (N + parts - 1) / parts;
  for (unsigned block = blockIdx.x; block < unsigned(C) * parts; block += gridDim.x) {
    const int c = block % C, part = block / C, end = min((part + 1) * size, N);
    Acc sum = 0;
    for (int n = part * size; n < end; n++)
      for (int p = threadIdx.x; p < area; p += blockDim.x) sum += Acc(dy[(unsigned(n) * C + c) * area + p]);
    for (int offset = 16; offset; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int warp = 1; warp < blockDim.x / 32; warp++) sum += sums[warp];
      partial[block] = sum;
    }
    __syncthreads();
  }
}

// partial[part, c] = the sum over a part of the M rows of dy (M, C). A block takes 32 columns.
// Bytes: s n + s parts C. Operations: n additions.
extern "C" __global__ void column_sums(const T* __restrict__ dy, Acc* __restrict__ partial, int M, int C, int parts) {
  __shared__ Acc sums[32][33];
  const int tiles = (C + 31) / 32, size = (M + parts - 1) / parts, lane = threadIdx.x % 32, row = threadIdx.x / 32;
  for (unsigned block = blockIdx.x; block < unsigned(tiles) * parts; block += gridDim.x) {
    const int c = block % tiles * 32 + lane, part = block / tiles, end = min((part + 1) * size, M);
    Acc sum = 0;
    for (int m = part * size + row; c < C && m < end; m += blockDim.x / 32) sum += Acc(dy[unsigned(m) * C + c]);
    sums[row][lane] = sum;
    __syncthreads();
    if (row == 0 && c < C) {
      for (int other = 1; other < blockDim.x / 32; other++) sum += sums[other][lane];
      partial[part * C + c] = sum;
    }
    __syncthreads();
  }
}

// correct = how many rows of x (M, C) have their first largest element, or first NaN, at t. One block; a warp takes a row.
// Bytes: s M C + 8 M. Operations: M C comparisons.
extern "C" __global__ void count_correct(const T* __restrict__ x, const long long* __restrict__ t,
                                         long long* __restrict__ correct, int M, int C) {
  __shared__ int counts[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  int right = 0;
  for (int m = warp; m < M; m += warps) {
    const T* row = x + unsigned(m) * C;
    const long long label = t[m];
    int beaten = label < 0 || label >= C;
    if (!beaten) {
      const Acc own = Acc(row[label]);
      for (int c = lane; c < C; c += 32) {
        const Acc other = Acc(row[c]);
        const bool is_nan = other != other;
        if (own != own) beaten |= is_nan && c < label;
        else beaten |= is_nan || (c < label ? other >= own : other > own);
      }
    }
    for (int offset = 16; offset; offset /= 2) beaten |= __shfl_xor_sync(0xffffffffu, beaten, offset);
    right += !beaten;
  }
  if (lane == 0) counts[warp] = right;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int other = 1; other < warps; other++) right += counts[other];
    *correct = right;
  }
}
