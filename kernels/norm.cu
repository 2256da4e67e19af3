// Batch and layer normalisation with their gradients; see norm.py.
//
// Batch norm sums over N and the image, for each channel: blocks take a channel and one of `parts` parts of its
// N * area elements, and leave a row of numbers each; the next kernel puts the parts of a channel together.

const int THREADS = 256;

// The sum of `value` over the threads of a block, for all of them; in a fixed order.
__device__ __forceinline__ double over_block(double value, double (&shared)[THREADS]) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int half = THREADS / 2; half; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    __syncthreads();
  }
  const double sum = shared[0];
  __syncthreads();
  return sum;
}

// The elements of a channel, numbered through all images.
struct Channel {
  int channel, C, area;
  __device__ unsigned operator()(int i) const { return (unsigned(i / area) * C + channel) * area + i % area; }
};

// Where a part begins; all but the last are of one size.
__device__ __forceinline__ int part_begin(int part, int parts, int count) {
  const unsigned size = unsigned(count + parts - 1) / parts;
  return min(part * size, unsigned(count));
}

// moments[channel, part] = (mean, sum of squares around it) of a part. The squares are summed around the part's own
// mean, in a second pass over what is then in the cache: a difference of large sums would lose digits.
// Bytes: s n. Operations: 4 n.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_moments(const T* __restrict__ x, double* __restrict__ moments, int C, int area, int count, int parts) {
  __shared__ double shared[THREADS];
  for (int block = blockIdx.x; block < C * parts; block += gridDim.x) {
    const int part = block % parts, begin = part_begin(part, parts, count), end = part_begin(part + 1, parts, count);
    const Channel at{block / parts, C, area};
    Acc sum = 0;
    for (int i = begin + threadIdx.x; i < end; i += THREADS) sum += Acc(x[at(i)]);
    const double mean = over_block(sum, shared) / max(end - begin, 1);
    Acc squares = 0;
    for (int i = begin + threadIdx.x; i < end; i += THREADS) {
      const Acc d = Acc(x[at(i)]) - Acc(mean);
      squares += d * d;
    }
    const double total = over_block(squares, shared);
    if (threadIdx.x == 0) {
      moments[2 * block] = mean;
      moments[2 * block + 1] = total;
    }
  }
}

// y, and mean and var of each channel, from the moments of its parts.
// Bytes: 2 s n. Operations: 2 n.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, const double* __restrict__ moments,
               T* __restrict__ y, double* __restrict__ mean, double* __restrict__ var, double eps, int C, int area, int count,
               int parts) {
  for (int block = blockIdx.x; block < C * parts; block += gridDim.x) {
    const int c = block / parts, part = block % parts;
    double m = 0, squares = 0;
    for (int p = 0; p < parts; p++) {
      const int size = part_begin(p + 1, parts, count) - part_begin(p, parts, count);
      m += moments[2 * (c * parts + p)] * size;
    }
    m /= count;
    for (int p = 0; p < parts; p++) {
      const int size = part_begin(p + 1, parts, count) - part_begin(p, parts, count);
      const double d = moments[2 * (c * parts + p)] - m;
      squares += moments[2 * (c * parts + p) + 1] + d * d * size;
    }
    const double v = squares / count;
    const Acc shift = Acc(m), scale = Acc((w ? double(w[c]) : 1.0) / sqrt(v + eps)), offset = b ? Acc(b[c]) : Acc(0);
    const Channel at{c, C, area};
    for (int i = part_begin(part, parts, count) + threadIdx.x; i < part_begin(part + 1, parts, count); i += THREADS)
      y[at(i)] = T((Acc(x[at(i)]) - shift) * scale + offset);
    if (part == 0 && threadIdx.x == 0) {
      mean[c] = m;
      var[c] = v;
    }
  }
}

// sums[channel, part] = (sum dy, sum dy z) of a part.
// Bytes: 2 s n. Operations: 5 n.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_sums(const T* __restrict__ dy, const T* __restrict__ x, const double* __restrict__ mean,
                    const double* __restrict__ var, double* __restrict__ sums, double eps, int C, int area, int count,
                    int parts) {
  __shared__ double shared[THREADS];
  for (int block = blockIdx.x; block < C * parts; block += gridDim.x) {
    const int c = block / parts, part = block % parts;
    const Acc m = Acc(mean[c]), r = Acc(1 / sqrt(var[c] + eps));
    const Channel at{c, C, area};
    Acc sum = 0, along = 0;
    for (int i = part_begin(part, parts, count) + threadIdx.x; i < part_begin(part + 1, parts, count); i += THREADS) {
      const Acc g = Acc(dy[at(i)]);
      sum += g;
      along += g * ((Acc(x[at(i)]) - m) * r);
    }
    const double total = over_block(sum, shared), total_along = over_block(along, shared);
    if (threadIdx.x == 0) {
      sums[2 * block] = total;
      sums[2 * block + 1] = total_along;
    }
  }
}

// dx, dw and db, from the sums of the parts.
// Bytes: 3 s n. Operations: 7 n.
extern "C" __global__ void __launch_bounds__(THREADS)
    batch_norm_grad(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ w,
                    const double* __restrict__ mean, const double* __restrict__ var, const double* __restrict__ sums,
                    T* __restrict__ dx, T* __restrict__ dw, T* __restrict__ db, double eps, int C, int area, int count,
                    int parts) {
  for (int block = blockIdx.x; block < C * parts; block += gridDim.x) {
    const int c = block / parts, part = block % parts;
    double sum = 0, along = 0;
    for (int p = 0; p < parts; p++) {
      sum += sums[2 * (c * parts + p)];
      along += sums[2 * (c * parts + p) + 1];
    }
    const double r = 1 / sqrt(var[c] + eps);
    const Acc m = Acc(mean[c]), rate = Acc(r), scale = Acc(r * (w ? double(w[c]) : 1.0));
    const Acc mean_g = Acc(sum / count), mean_along = Acc(along / count);
    const Channel at{c, C, area};
    for (int i = part_begin(part, parts, count) + threadIdx.x; i < part_begin(part + 1, parts, count); i += THREADS) {
      const Acc z = (Acc(x[at(i)]) - m) * rate;
      dx[at(i)] = T((Acc(dy[at(i)]) - mean_g - z * mean_along) * scale);
    }
    if (part == 0 && threadIdx.x == 0) {
      dw[c] = T(along);
      db[c] = T(sum);
    }
  }
}

// y[n, c, p] = w[c] x[n, c, p] + b[c] for n elements in all, of images of `area` pixels.
// Bytes: 2 s n. Operations: 2 n.
extern "C" __global__ void channel_affine(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b,
                                          T* __restrict__ y, int n, int C, int area) {
  FOR_EACH(i, unsigned(n)) {
    const unsigned c = i / area % C;
    y[i] = T(Acc(x[i]) * Acc(w[c]) + Acc(b[c]));
  }
}

__device__ __forceinline__ Acc sum_over_warp(Acc value) {
  for (int offset = 16; offset; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

// array[i]; `other` if there is no array.
__device__ __forceinline__ Acc or_else(const T* array, int i, Acc other) { return array ? Acc(array[i]) : other; }

// y (M, D), and mean and r of each row; a warp takes a row.
// Bytes: 2 s M D. Operations: 7 M D.
extern "C" __global__ void layer_norm(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b,
                                      T* __restrict__ y, Acc* __restrict__ mean, Acc* __restrict__ r, Acc eps, int M,
                                      int D) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int row = blockIdx.x * warps + threadIdx.x / 32; row < M; row += gridDim.x * warps) {
    const unsigned start = unsigned(row) * D;
    Acc sum = 0, squares = 0;
    for (int i = lane; i < D; i += 32) sum += Acc(x[start + i]);
    const Acc m = sum_over_warp(sum) / D;
    for (int i = lane; i < D; i += 32) {
      const Acc d = Acc(x[start + i]) - m;
      squares += d * d;
    }
    const Acc rate = Acc(1) / sqrt(sum_over_warp(squares) / D + eps);
    for (int i = lane; i < D; i += 32)
      y[start + i] = T((Acc(x[start + i]) - m) * rate * or_else(w, i, 1) + or_else(b, i, 0));
    if (lane == 0) {
      mean[row] = m;
      r[row] = rate;
    }
  }
}

// dx (M, D); a warp takes a row.
// Bytes: 3 s M D. Operations: 12 M D.
extern "C" __global__ void layer_norm_grad(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ w,
                                           const Acc* __restrict__ mean, const Acc* __restrict__ r,
                                           T* __restrict__ dx, int M, int D) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int row = blockIdx.x * warps + threadIdx.x / 32; row < M; row += gridDim.x * warps) {
    const unsigned start = unsigned(row) * D;
    Acc sum = 0, along = 0;
    for (int i = lane; i < D; i += 32) {
      const Acc g = Acc(dy[start + i]) * or_else(w, i, 1);
      sum += g;
      along += g * ((Acc(x[start + i]) - mean[row]) * r[row]);
    }
    const Acc mean_g = sum_over_warp(sum) / D, mean_along = sum_over_warp(along) / D;
    for (int i = lane; i < D; i += 32) {
      const Acc g = Acc(dy[start + i]) * or_else(w, i, 1), z = (Acc(x[start + i]) - mean[row]) * r[row];
      dx[start + i] = T((g - mean_g - z * mean_along) * r[row]);
    }
  }
}

// dw and db (D,): sums over the rows, in double; a block takes 32 columns, its 8 rows of threads every eighth row.
// Bytes: 2 s M D. Operations: 5 M D.
extern "C" __global__ void __launch_bounds__(THREADS)
    layer_norm_weight_grad(const T* __restrict__ dy, const T* __restrict__ x, const Acc* __restrict__ mean,
                           const Acc* __restrict__ r, T* __restrict__ dw, T* __restrict__ db, int M, int D) {
  __shared__ double along[8][32];
  __shared__ double sum[8][32];
  const int column = threadIdx.x % 32, start = threadIdx.x / 32;
  for (int first = blockIdx.x * 32; first < D; first += gridDim.x * 32) {
    const int i = first + column;
    double a = 0, s = 0;
    for (int row = start; row < M && i < D; row += 8) {
      const unsigned at = unsigned(row) * D + i;
      a += Acc(dy[at]) * ((Acc(x[at]) - mean[row]) * r[row]);
      s += Acc(dy[at]);
    }
    along[start][column] = a;
    sum[start][column] = s;
    __syncthreads();
    if (start == 0 && i < D) {
      for (int k = 1; k < 8; k++) {
        a += along[k][column];
        s += sum[k][column];
      }
      dw[i] = T(a);
      db[i] = T(s);
    }
    __syncthreads();
  }
}
