// The patches of a convolution as a matrix, and back; see conv.py for the formulas. Arrays are NCHW in memory.

#include "conv.cuh"

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

