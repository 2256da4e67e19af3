// 2-d convolution; see conv.py for the formulas. Arrays are NCHW in memory.
//
// conv2d and its two adjoints are matrix products whose right-hand side, the patches, is never stored ("implicit
// GEMM"); tile.cuh has the product. What differs is what a column and a term are:
//
//                      rows              columns (places)     terms
//   conv2d             O/G               pixels of y          taps: C/G KH KW
//   conv2d_input_grad  C/G               pixels of x          taps: O/G KH KW
//   conv2d_weight_grad O/G               taps: C/G KH KW      pixels of y
//
// Where there are too few tiles to fill the device, the terms are cut into `parts`, each summed by other blocks into
// `partial`, and sum_parts adds those in a fixed order: the same bits in every run, which atomics would not give.
//
// Bytes and operations are for one launch, with `s` the bytes of a T; bytes are what must cross the memory bus at
// least (each array once).

#include "conv.cuh"
#include "tile.cuh"

struct Pixel {
  int n, h, w;  // a place in a batch of images
};
__device__ __forceinline__ Pixel pixel(int index, int H, int W) { return {index / (H * W), index / W % H, index % W}; }
struct Tap {
  int channel, h, w;  // a place in a kernel
};
__device__ __forceinline__ Tap tap(int index, int KH, int KW) {
  return {index / (KH * KW), index / KW % KH, index % KW};
}

// Spots of x in group g: element (n, channel, oh SH - PH + k DH, ow SW - PW + l DW). `left` is where they are in dy and w.
__device__ __forceinline__ Spot output_pixel(const Conv& v, int g, int index) {
  const Pixel p = pixel(index, v.OH, v.OW);
  const int h = p.h * v.SH - v.PH, w = p.w * v.SW - v.PW, area = v.OH * v.OW;
  return {(p.n * v.C + g * (v.C / v.G)) * v.H * v.W + h * v.W + w, h, w, (p.n * v.O + g * (v.O / v.G)) * area + index % area};
}
__device__ __forceinline__ Spot input_tap(const Conv& v, int g, int index) {
  const Tap t = tap(index, v.KH, v.KW);
  const int h = t.h * v.DH, w = t.w * v.DW;
  return {t.channel * v.H * v.W + h * v.W + w, h, w, g * (v.O / v.G) * (v.C / v.G) * v.KH * v.KW + index};
}

// y (N, O, OH, OW) from x (N, C, H, W) and w (O, C/G, KH, KW), plus b (O,) unless it is null; then max(y, 0) if `relu`.
// Bytes: s (N C H W + O C/G KH KW + N O OH OW). Operations: 2 N O OH OW C/G KH KW.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d(const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, Acc* __restrict__ partial, int parts,
           const Conv v, const T* __restrict__ b, int relu) {
  const int CG = v.C / v.G, OG = v.O / v.G, area = v.OH * v.OW, pixels = v.N * area, terms = CG * v.KH * v.KW;
  const Tile t = tile(OG, pixels, v.G, terms, parts);
  const int first = t.product * OG;
  Acc sums[Y][X];
  multiply<true, false>(
      sums, t, Rows{w, terms}, Images{x, v.H, v.W}, [&](int p) { return output_pixel(v, t.product, p); },
      [&](int k) { return input_tap(v, t.product, k); });
  store(y, partial, first * area, v.O * pixels, sums, t, Layout{area, area, v.O * area}, [&](int row, Acc sum) {
    const Acc value = b ? sum + Acc(b[first + row]) : sum;
    return relu && value < Acc(0) ? Acc(0) : value;
  });
}

// The right side of conv2d_input_grad for any stride: dy with stride - 1 zeros between its rows and columns.
struct Spread {
  const T* data;
  int OH, OW, SH, SW;
  __device__ __forceinline__ T operator()(const Spot& p, const Spot& q) const {
    const int h = p.h + q.h, w = p.w + q.w, oh = h / SH, ow = w / SW;
    const bool used = h >= 0 && w >= 0 && oh * SH == h && ow * SW == w && oh < OH && ow < OW;
    return used ? data[unsigned(p.offset + q.offset + oh * OW + ow)] : T(0);
  }
};

// Pixel (n, h, w) of x has from tap (o, k, l) what dy has at ((h + PH - k DH) / SH, (w + PW - l DW) / SW). With stride 1
// that is a fixed distance, `line` is OW; otherwise Spread looks where it is, `line` is 0.
template <class Right>
__device__ __forceinline__ void input_grad(const Right& right, const T* w, T* dx, Acc* partial, int parts, const Conv& v,
                                           int line) {
  const int CG = v.C / v.G, OG = v.O / v.G, area = v.H * v.W, pixels = v.N * area, taps = v.KH * v.KW;
  const int column = line ? 1 : 0;
  const Tile t = tile(CG, pixels, v.G, OG * taps, parts);
  const int channel = t.product * OG;  // the first of the group
  const auto place = [&](int index) {
    const Pixel p = pixel(index, v.H, v.W);
    const int h = p.h + v.PH, w = p.w + v.PW;
    return Spot{(p.n * v.O + channel) * v.OH * v.OW + h * line + w * column, h, w, 0};
  };
  const auto term = [&](int index) {
    const Tap q = tap(index, v.KH, v.KW);
    const int h = q.h * v.DH, w = q.w * v.DW;
    return Spot{q.channel * v.OH * v.OW - h * line - w * column, -h, -w,
                (channel + q.channel) * CG * taps + index % taps};
  };
  Acc sums[Y][X];
  multiply<true, false>(sums, t, Rows{w, taps}, right, place, term);
  store(dx, partial, t.product * CG * area, v.C * pixels, sums, t, Layout{area, area, v.C * area},
        [](int, Acc sum) { return sum; });
}

// dx (N, C, H, W) from dy (N, O, OH, OW) and w (O, C/G, KH, KW), for stride 1.
// Bytes: s (N O OH OW + O C/G KH KW + N C H W). Operations: 2 N C H W O/G KH KW.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d_input_grad(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx, Acc* __restrict__ partial,
                      int parts, const Conv v) {
  input_grad(Images{dy, v.OH, v.OW}, w, dx, partial, parts, v, v.OW);
}

// The same for any stride.
// Bytes: s (N O OH OW + O C/G KH KW + N C H W). Operations: 2 N C H W O/G KH KW (of which 1 / (SH SW) are not by 0).
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d_input_grad_strided(const T* __restrict__ dy, const T* __restrict__ w, T* __restrict__ dx,
                              Acc* __restrict__ partial, int parts, const Conv v) {
  input_grad(Spread{dy, v.OH, v.OW, v.SH, v.SW}, w, dx, partial, parts, v, 0);
}

// dw (O, C/G, KH, KW) from dy (N, O, OH, OW) and x (N, C, H, W).
// Bytes: s (N O OH OW + N C H W + parts O C/G KH KW). Operations: 2 N O OH OW C/G KH KW.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv2d_weight_grad(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ dw, Acc* __restrict__ partial,
                       int parts, const Conv v) {
  const int CG = v.C / v.G, OG = v.O / v.G, area = v.OH * v.OW, pixels = v.N * area, terms = CG * v.KH * v.KW;
  const Tile t = tile(OG, terms, v.G, pixels, parts);
  const int first = t.product * OG;
  Acc sums[Y][X];
  multiply<true, true>(
      sums, t, Rows{dy, area}, Images{x, v.H, v.W}, [&](int k) { return input_tap(v, t.product, k); },
      [&](int p) { return output_pixel(v, t.product, p); });
  store(dw, partial, first * terms, v.O * terms, sums, t, Layout{terms, terms, 0}, [](int, Acc sum) { return sum; });
}
