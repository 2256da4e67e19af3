// 2-d pooling; see pool.py for the formulas. Arrays are NCHW in memory. One thread makes one element of the result;
// gradients gather: no two threads add to one place, and each adds in a fixed order.

struct Pool {
  int N, C, H, W, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW;
};

// y = the largest element of each window and index = where it is, h W + w. A NaN is larger than everything; of equal
// elements the first wins. `lowest` is the smallest T, for windows that lie wholly in the padding.
// Bytes: s N C H W + (s + 4) N C OH OW. Operations: N C OH OW KH KW comparisons.
extern "C" __global__ void max_pool2d(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ index, const Pool v,
                                      const T lowest) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.OH * v.OW) {
    const int oh = i / v.OW % v.OH, ow = i % v.OW, top = oh * v.SH - v.PH, left = ow * v.SW - v.PW;
    const T* image = x + i / (v.OH * v.OW) * (v.H * v.W);
    Acc best = Acc(lowest);
    int first_h = top, first_w = left;  // the first place of the window inside the image
    while (first_h < 0) first_h += v.DH;
    while (first_w < 0) first_w += v.DW;
    int at = min(first_h, v.H - 1) * v.W + min(first_w, v.W - 1);
    for (int h = first_h; h < min(top + (v.KH - 1) * v.DH + 1, v.H); h += v.DH)
      for (int w = first_w; w < min(left + (v.KW - 1) * v.DW + 1, v.W); w += v.DW) {
        const Acc value = Acc(image[h * v.W + w]);
        if (value > best || value != value) best = value, at = h * v.W + w;
      }
    y[i] = T(best);
    index[i] = at;
  }
}

// dx = each dy at its index.
// Bytes: (s + 4) N C OH OW + s N C H W. Operations: up to N C OH OW KH KW comparisons and additions.
extern "C" __global__ void max_pool2d_input_grad(const T* __restrict__ dy, const int* __restrict__ index,
                                                 T* __restrict__ dx, const Pool v) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.H * v.W) {
    const int h = i / v.W % v.H, w = i % v.W, here = h * v.W + w;
    const unsigned plane = i / (v.H * v.W) * (v.OH * v.OW);
    Acc sum = 0;
    for (int k = 0; k < v.KH; k++) {
      const int down = h + v.PH - k * v.DH, oh = down / v.SH;
      if (down < 0 || down % v.SH || oh >= v.OH) continue;
      for (int l = 0; l < v.KW; l++) {
        const int right = w + v.PW - l * v.DW, ow = right / v.SW;
        if (right < 0 || right % v.SW || ow >= v.OW) continue;
        const unsigned o = plane + oh * v.OW + ow;
        if (index[o] == here) sum += Acc(dy[o]);
      }
    }
    dx[i] = T(sum);
  }
}

// y[n, c, p] = x[n, c, index[n, c, p]], for images of `area` elements of which y takes `taken`.
// Bytes: (2 s + 4) N C taken. Operations: none.
extern "C" __global__ void max_pool2d_at(const T* __restrict__ x, const int* __restrict__ index, T* __restrict__ y,
                                         int planes, int area, int taken, Fault* fault) {
  FOR_EACH(i, unsigned(planes) * taken) {
    const int at = index[i];
    const bool inside = at >= 0 && at < area;
    if (!inside) report(fault, POOL_INDEX, at, area);
    y[i] = inside ? x[i / taken * area + at] : T(0);
  }
}

// x = 0 but for the sum of each y at its index: a thread takes a whole image, so that it alone adds there, in order.
// Bytes: (s + 4) N C taken + s N C area. Operations: N C taken additions.
extern "C" __global__ void max_unpool2d(const T* __restrict__ y, const int* __restrict__ index, T* __restrict__ x,
                                        int planes, int area, int taken, Fault* fault) {
  FOR_EACH(i, unsigned(planes)) {
    for (int p = 0; p < area; p++) x[i * area + p] = T(0);
    for (int p = 0; p < taken; p++) {
      const int at = index[i * taken + p];
      if (at >= 0 && at < area) x[i * area + at] = T(Acc(x[i * area + at]) + Acc(y[i * taken + p]));
      else report(fault, POOL_INDEX, at, area);
    }
  }
}

// What the sum of window (oh, ow) is divided by.
__device__ __forceinline__ int divisor(const Pool& v, int oh, int ow, int count_include_pad, int divisor_override) {
  if (divisor_override) return divisor_override;
  const int margin_h = count_include_pad ? v.PH : 0, margin_w = count_include_pad ? v.PW : 0;
  const int top = oh * v.SH - v.PH, left = ow * v.SW - v.PW;
  return (min(top + v.KH, v.H + margin_h) - max(top, -margin_h)) * (min(left + v.KW, v.W + margin_w) - max(left, -margin_w));
}

// y = the sum of each window over its divisor; divisor_override 0 is none.
// Bytes: s N C (H W + OH OW). Operations: N C OH OW KH KW.
extern "C" __global__ void avg_pool2d(const T* __restrict__ x, T* __restrict__ y, const Pool v, int count_include_pad,
                                      int divisor_override) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.OH * v.OW) {
    const int oh = i / v.OW % v.OH, ow = i % v.OW, top = oh * v.SH - v.PH, left = ow * v.SW - v.PW;
    const T* image = x + i / (v.OH * v.OW) * (v.H * v.W);
    Acc sum = 0;
    for (int h = max(top, 0); h < min(top + v.KH, v.H); h++)
      for (int w = max(left, 0); w < min(left + v.KW, v.W); w++) sum += Acc(image[h * v.W + w]);
    y[i] = T(sum / Acc(divisor(v, oh, ow, count_include_pad, divisor_override)));
  }
}

// dx = the adjoint of avg_pool2d.
// Bytes: s N C (H W + OH OW). Operations: 2 N C OH OW KH KW.
extern "C" __global__ void avg_pool2d_input_grad(const T* __restrict__ dy, T* __restrict__ dx, const Pool v,
                                                 int count_include_pad, int divisor_override) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.H * v.W) {
    const int h = i / v.W % v.H, w = i % v.W;
    const T* plane = dy + i / (v.H * v.W) * (v.OH * v.OW);
    Acc sum = 0;
    for (int k = 0; k < v.KH; k++) {
      const int down = h + v.PH - k, oh = down / v.SH;
      if (down < 0 || down % v.SH || oh >= v.OH) continue;
      for (int l = 0; l < v.KW; l++) {
        const int right = w + v.PW - l, ow = right / v.SW;
        if (right < 0 || right % v.SW || ow >= v.OW) continue;
        sum += Acc(plane[oh * v.OW + ow]) / Acc(divisor(v, oh, ow, count_include_pad, divisor_override));
      }
    }
    dx[i] = T(sum);
  }
}

// Window i of n that adaptive pooling cuts `size` elements into: from floor(i size / n) to ceil((i + 1) size / n).
__device__ __forceinline__ int window_start(int i, int size, int n) { return (long long)i * size / n; }
__device__ __forceinline__ int window_end(int i, int size, int n) { return ((long long)(i + 1) * size + n - 1) / n; }

// max_pool2d over the windows of adaptive pooling; KH to DW of v are not used here and below.
// Bytes: s N C H W + (s + 4) N C OH OW. Operations: N C H W comparisons (more where windows overlap).
extern "C" __global__ void adaptive_max_pool2d(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ index,
                                               const Pool v) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.OH * v.OW) {
    const int oh = i / v.OW % v.OH, ow = i % v.OW;
    const T* image = x + i / (v.OH * v.OW) * (v.H * v.W);
    int at = window_start(oh, v.H, v.OH) * v.W + window_start(ow, v.W, v.OW);
    Acc best = Acc(image[at]);
    for (int h = window_start(oh, v.H, v.OH); h < window_end(oh, v.H, v.OH); h++)
      for (int w = window_start(ow, v.W, v.OW); w < window_end(ow, v.W, v.OW); w++) {
        const Acc value = Acc(image[h * v.W + w]);
        if (value > best || (value != value && best == best)) best = value, at = h * v.W + w;
      }
    y[i] = T(best);
    index[i] = at;
  }
}

// y = the mean of each window.
// Bytes: s N C (H W + OH OW). Operations: N C H W (more where windows overlap).
extern "C" __global__ void adaptive_avg_pool2d(const T* __restrict__ x, T* __restrict__ y, const Pool v) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.OH * v.OW) {
    const int oh = i / v.OW % v.OH, ow = i % v.OW;
    const int top = window_start(oh, v.H, v.OH), bottom = window_end(oh, v.H, v.OH);
    const int left = window_start(ow, v.W, v.OW), right = window_end(ow, v.W, v.OW);
    const T* image = x + i / (v.OH * v.OW) * (v.H * v.W);
    Acc sum = 0;
    for (int h = top; h < bottom; h++)
      for (int w = left; w < right; w++) sum += Acc(image[h * v.W + w]);
    y[i] = T(sum / Acc((bottom - top) * (right - left)));
  }
}

// dx = the adjoint of adaptive_avg_pool2d: an element lies in the windows floor(h OH / H) to ceil((h + 1) OH / H) - 1.
// Bytes: s N C (H W + OH OW). Operations: 2 N C H W (more where windows overlap).
extern "C" __global__ void adaptive_avg_pool2d_input_grad(const T* __restrict__ dy, T* __restrict__ dx, const Pool v) {
  FOR_EACH(i, unsigned(v.N) * v.C * v.H * v.W) {
    const int h = i / v.W % v.H, w = i % v.W;
    const T* plane = dy + i / (v.H * v.W) * (v.OH * v.OW);
    Acc sum = 0;
    for (int oh = window_start(h, v.OH, v.H); oh < window_end(h, v.OH, v.H); oh++)
      for (int ow = window_start(w, v.OW, v.W); ow < window_end(w, v.OW, v.W); ow++) {
        const int rows = window_end(oh, v.H, v.OH) - window_start(oh, v.H, v.OH);
        const int columns = window_end(ow, v.W, v.OW) - window_start(ow, v.W, v.OW);
        sum += Acc(plane[oh * v.OW + ow]) / Acc(rows * columns);
      }
    dx[i] = T(sum);
  }
}
