// 2-d convolution; see conv.py for the formulas. Arrays are NCHW in memory.
//
// conv2d and its two adjoints are matrix products whose right-hand side, the patches, is never stored ("implicit
// GEMM"): a block of 256 threads computes a 64 x 64 tile of the result, 8 terms of the sum at a time. It copies 64 x 8
// numbers of either side into shared memory, where each number is read by 16 threads, and each thread keeps 4 x 4 sums
// in registers.
//
// Bytes and operations are for one launch, with `s` the bytes of a T; bytes are what must cross the memory bus at
// least (each array once).

struct Conv {
  int N, C, H, W, O, KH, KW, OH, OW, SH, SW, PH, PW, DH, DW, G;
};

// cols[n, i, j, k, l, c] = x[n, c, i SH - PH + k DH, j SW - PW + l DW], 0 outside.
// Bytes: s (N C H W + N OH OW KH KW C). Operations: none.
extern "C" __global__ void im2col(const T* __restrict__ x, T* __restrict__ cols, const Conv v) {
  FOR_EACH(i, unsigned(v.N) * v.OH * v.OW * v.KH * v.KW * v.C) {
    unsigned rest = i;
    const int c = rest % v.C; rest /= v.C;
    const int l = rest % v.KW; rest /= v.KW;
    const int k = rest % v.KH; rest /= v.KH;
    const int ow = rest % v.OW; rest /= v.OW;
    const int oh = rest % v.OH; rest /= v.OH;
    const int h = oh * v.SH - v.PH + k * v.DH, w = ow * v.SW - v.PW + l * v.DW;
    const bool inside = h >= 0 && h < v.H && w >= 0 && w < v.W;
    cols[i] = inside ? x[((rest * v.C + c) * v.H + h) * v.W + w] : T(0);
  }
}

// x[n, c, h, w] = the sum of all cols elements that im2col reads from there, in a fixed order.
// Bytes: s (N OH OW KH KW C + N C H W). Operations: one addition for each element of cols.
extern "C" __global__ void col2im(const T* __restrict__ cols, T* __restrict__ x, const Conv v) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.H * v.W) {
    unsigned rest = i;
    const int w = rest % v.W; rest /= v.W;
    const int h = rest % v.H; rest /= v.H;
    const int c = rest % v.C;
    const unsigned n = rest / v.C;
    T sum = 0;
    for (int k = 0; k < v.KH; k++) {
      const int down = h + v.PH - k * v.DH, oh = down / v.SH;
      if (down < 0 || down % v.SH || oh >= v.OH) continue;
      for (int l = 0; l < v.KW; l++) {
        const int right = w + v.PW - l * v.DW, ow = right / v.SW;
        if (right < 0 || right % v.SW || ow >= v.OW) continue;
        sum += cols[((((n * v.OH + oh) * v.OW + ow) * v.KH + k) * v.KW + l) * v.C + c];
      }
    }
    x[i] = sum;
  }
}

// ---- the tile of a matrix product ----
const int TILE = 64, DEPTH = 8, THREADS = 256, PER_THREAD = 4;
const int BLOCKS = sizeof(T) == 8 ? 2 : 3;  // that fit on a multiprocessor at once: bounds the registers of a thread
const int LOADS = TILE * DEPTH / THREADS;  // numbers that a thread copies of either side
const int ROW = TILE + 4;                  // of shared memory: the 4 keep the writes of a warp in different banks

// One side of a product: the number at place `at` (of the TILE) and term k is side.load(side.place(at), side.term(k)).
// TERMS_FIRST says which of the two neighbouring threads step through: the one that is contiguous in memory.
template <class Side>
__device__ __forceinline__ void copy_to_shared(T (&shared)[DEPTH][ROW], const Side& side, int first, int k0, int k_end) {
#pragma unroll
  for (int i = 0; i < LOADS; i++) {
    const int t = threadIdx.x + i * THREADS;
    const int k = Side::TERMS_FIRST ? t % DEPTH : t / TILE, at = Side::TERMS_FIRST ? t / DEPTH : t % TILE;
    const bool inside = k0 + k < k_end && first + at < side.size;
    shared[k][at] = inside ? side.load(side.place(first + at), side.term(k0 + k)) : T(0);
  }
}

// sums[i][j] = sum over k in [k_begin, k_end) of left(row i, k) right(k, column j), for this thread's rows and columns.
template <class Left, class Right>
__device__ __forceinline__ void multiply_tile(
    T (&sums)[PER_THREAD][PER_THREAD], const Left& left, const Right& right, int row, int column, int k_begin, int k_end) {
  __shared__ __align__(16) T a[DEPTH][ROW];
  __shared__ __align__(16) T b[DEPTH][ROW];
  const int y = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD, x = threadIdx.x % (TILE / PER_THREAD);
#pragma unroll
  for (int i = 0; i < PER_THREAD; i++)
#pragma unroll
    for (int j = 0; j < PER_THREAD; j++) sums[i][j] = 0;
  for (int k0 = k_begin; k0 < k_end; k0 += DEPTH) {
    copy_to_shared(a, left, row, k0, k_end);
    copy_to_shared(b, right, column, k0, k_end);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < DEPTH; k++)
#pragma unroll
      for (int i = 0; i < PER_THREAD; i++)
#pragma unroll
        for (int j = 0; j < PER_THREAD; j++) sums[i][j] += a[k][y + i] * b[k][x + j * (TILE / PER_THREAD)];
    __syncthreads();
  }
}

// Where the sums of this thread lie in the tile.
__device__ __forceinline__ int tile_row(int i) { return threadIdx.x / (TILE / PER_THREAD) * PER_THREAD + i; }
__device__ __forceinline__ int tile_column(int j) { return threadIdx.x % (TILE / PER_THREAD) + j * (TILE / PER_THREAD); }
__device__ __forceinline__ int tiles(int n) { return (n + TILE - 1) / TILE; }

struct Tap {
  int channel, k, l;  // a place in the kernel
};
__device__ __forceinline__ Tap tap(const Conv& v, int index) {
  return {index / (v.KH * v.KW), index / v.KW % v.KH, index % v.KW};
}
struct Pixel {
  int n, h, w;  // a place in a batch of images
};
__device__ __forceinline__ Pixel pixel(int index, int H, int W) { return {index / (H * W), index / W % H, index % W}; }

// ---- conv2d: (O/G, taps) times (taps, pixels of y), for each group ----
struct Weights {
  static const bool TERMS_FIRST = true;
  const T* w;
  int size, terms;
  __device__ int place(int o) const { return o * terms; }
  __device__ int term(int k) const { return k; }
  __device__ T load(int place, int k) const { return w[place + k]; }
};
struct Patches {
  static const bool TERMS_FIRST = false;
  const T* x;
  int size;
  Conv v;
  __device__ Pixel place(int p) const {
    const Pixel q = pixel(p, v.OH, v.OW);
    return {q.n * v.C * v.H * v.W, q.h * v.SH - v.PH, q.w * v.SW - v.PW};
  }
  __device__ Tap term(int k) const { return tap(v, k); }
  __device__ T load(Pixel p, Tap t) const {
    const int h = p.h + t.k * v.DH, w = p.w + t.l * v.DW;
    return h >= 0 && h < v.H && w >= 0 && w < v.W ? x[p.n + (t.channel * v.H + h) * v.W + w] : T(0);
  }
};

// y (N, O, OH, OW) from x (N, C, H, W), w (O, C/G, KH, KW) and b (O,) or null; then max(y, 0) if `relu`.
// Bytes: s (N C H W + O C/G KH KW + N O OH OW). Operations: 2 N O OH OW C/G KH KW.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ y, const Conv v,
           int relu) {
  const int CG = v.C / v.G, OG = v.O / v.G, area = v.OH * v.OW, pixels = v.N * area, terms = CG * v.KH * v.KW;
  const unsigned across = tiles(pixels), down = tiles(OG);
  for (unsigned tile = blockIdx.x; tile < across * down * v.G; tile += gridDim.x) {
    const int column = tile % across * TILE, row = tile / across % down * TILE, g = tile / across / down;
    const Weights left{w + g * OG * terms, OG, terms};
    const Patches right{x + g * CG * v.H * v.W, pixels, v};
    T sums[PER_THREAD][PER_THREAD];
    multiply_tile(sums, left, right, row, column, 0, terms);
    for (int j = 0; j < PER_THREAD; j++) {
      const int p = column + tile_column(j);
      if (p >= pixels) continue;
      for (int i = 0; i < PER_THREAD; i++) {
        const int o = g * OG + row + tile_row(i);
        if (row + tile_row(i) >= OG) continue;
        const T value = sums[i][j] + (b ? b[o] : T(0));
        y[(p / area * v.O + o) * area + p % area] = relu && value < T(0) ? T(0) : value;
      }
    }
  }
}

// ---- conv2d_input_grad: (C/G, O/G taps) times (O/G taps, pixels of x) ----
struct WeightsByChannel {
  static const bool TERMS_FIRST = true;
  const T* w;
  int size, taps;  // C/G, KH KW
  __device__ int place(int c) const { return c * taps; }
  __device__ int term(int k) const { return k / taps * size * taps + k % taps; }
  __device__ T load(int place, int term) const { return w[place + term]; }
};
struct GradientsAround {
  static const bool TERMS_FIRST = false;
  const T* dy;
  int size;
  Conv v;
  __device__ Pixel place(int p) const {
    const Pixel q = pixel(p, v.H, v.W);
    return {q.n * v.O * v.OH * v.OW, q.h + v.PH, q.w + v.PW};
  }
  __device__ Tap term(int k) const { return tap(v, k); }
  __device__ T load(Pixel p, Tap t) const {
    const int down = p.h - t.k * v.DH, right = p.w - t.l * v.DW, oh = down / v.SH, ow = right / v.SW;
    const bool used = down >= 0 && right >= 0 && down % v.SH == 0 && right % v.SW == 0 && oh < v.OH && ow < v.OW;
    return used ? dy[p.n + (t.channel * v.OH + oh) * v.OW + ow] : T(0);
  }
};

// dx (N, C, H, W) from dy (N, O, OH, OW) and w (O, C/G, KH, KW).
// Bytes: s (N O OH OW + O C/G KH KW + N C H W). Operations: 2 N C H W O/G KH KW (of which 1 / (SH SW) are not by 0).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d_input_grad(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, const Conv v) {
  const int CG = v.C / v.G, OG = v.O / v.G, area = v.H * v.W, pixels = v.N * area, taps = v.KH * v.KW;
  const unsigned across = tiles(pixels), down = tiles(CG);
  for (unsigned tile = blockIdx.x; tile < across * down * v.G; tile += gridDim.x) {
    const int column = tile % across * TILE, row = tile / across % down * TILE, g = tile / across / down;
    const WeightsByChannel left{w + g * OG * CG * taps, CG, taps};
    const GradientsAround right{dy + g * OG * v.OH * v.OW, pixels, v};
    T sums[PER_THREAD][PER_THREAD];
    multiply_tile(sums, left, right, row, column, 0, OG * taps);
    for (int j = 0; j < PER_THREAD; j++) {
      const int p = column + tile_column(j);
      if (p >= pixels) continue;
      for (int i = 0; i < PER_THREAD; i++) {
        const int c = row + tile_row(i);
        if (c < CG) dx[(p / area * v.C + g * CG + c) * area + p % area] = sums[i][j];
      }
    }
  }
}

// ---- conv2d_weight_grad: (O/G, pixels of y) times (pixels of y, taps) ----
struct Gradients {
  static const bool TERMS_FIRST = true;
  const T* dy;
  int size, area, image;  // O/G, OH OW, O OH OW
  __device__ int place(int o) const { return o * area; }
  __device__ int term(int p) const { return p / area * image + p % area; }
  __device__ T load(int place, int term) const { return dy[place + term]; }
};
struct PatchesByTap {
  static const bool TERMS_FIRST = true;
  Patches patches;
  int size;
  __device__ Tap place(int k) const { return patches.term(k); }
  __device__ Pixel term(int p) const { return patches.place(p); }
  __device__ T load(Tap t, Pixel p) const { return patches.load(p, t); }
};

// partial[s] (O, C/G, KH, KW) = the share of part s of the pixels in dw, from dy (N, O, OH, OW) and x (N, C, H, W).
// The sum runs over all pixels and the result is small: cut into `parts`, it keeps more than a few blocks busy.
// Bytes: s (N O OH OW + N C H W + parts O C/G KH KW). Operations: 2 N O OH OW C/G KH KW.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d_weight_grad(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ partial, const Conv v, int parts) {
  const int CG = v.C / v.G, OG = v.O / v.G, area = v.OH * v.OW, pixels = v.N * area, terms = CG * v.KH * v.KW;
  const int part_size = ((pixels + parts - 1) / parts + DEPTH - 1) / DEPTH * DEPTH;
  const unsigned across = tiles(terms), down = tiles(OG), count = across * down * v.G;
  for (unsigned tile = blockIdx.x; tile < count * parts; tile += gridDim.x) {
    const int column = tile % across * TILE, row = tile / across % down * TILE, g = tile / across / down % v.G;
    const int part = tile / count, begin = min(part * part_size, pixels), end = min(begin + part_size, pixels);
    const Gradients left{dy + g * OG * area, OG, area, v.O * area};
    const PatchesByTap right{{x + g * CG * v.H * v.W, pixels, v}, terms};
    T sums[PER_THREAD][PER_THREAD];
    multiply_tile(sums, left, right, row, column, begin, end);
    for (int i = 0; i < PER_THREAD; i++)
      for (int j = 0; j < PER_THREAD; j++) {
        const int o = row + tile_row(i), k = column + tile_column(j);
        if (o < OG && k < terms) partial[(part * v.O + g * OG + o) * terms + k] = sums[i][j];
      }
  }
}

// total[i] = sum over s of partial[s, i], in a fixed order: the same bits in every run, which atomics would not give.
// Bytes: s (parts + 1) n. Operations: parts n.
extern "C" __global__ void sum_parts(const T* __restrict__ partial, T* __restrict__ total, int n, int parts) {
  FOR_EACH(i, unsigned(n)) {
    T sum = 0;
    for (int s = 0; s < parts; s++) sum += partial[unsigned(s) * n + i];
    total[i] = sum;
  }
}
