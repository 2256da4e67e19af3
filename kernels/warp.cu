// Images sampled at arbitrary points, and seen through maps; see warp.py. One thread makes one element of the result.
#include "philox.cuh"

// What values between pixels are computed in.
template <class Number> struct Between { typedef Number type; };
template <> struct Between<unsigned char> { typedef float type; };
typedef Between<T>::type Real;

struct Sample {
  int N, C, H, W, OH, OW;
};
struct Point {
  double u, v;
};

__device__ __forceinline__ T stored(float value, unsigned char) { return T(fminf(fmaxf(rintf(value), 0.f), 255.f)); }
template <class Same> __device__ __forceinline__ T stored(Same value, Same) { return value; }

// Pixel (row, column) of an image; `plane` where there is none.
__device__ __forceinline__ Real framed(const T* image, const Sample& v, int row, int column, Real plane) {
  return row >= 0 && row < v.H && column >= 0 && column < v.W ? Real(image[row * v.W + column]) : plane;
}

// value in 0 .. limit; 0 for NaN.
__device__ __forceinline__ double clip(double value, double limit) { return fmin(fmax(value, 0.0), limit); }

__device__ __forceinline__ T at_nearest(const T* image, const Sample& s, Point p, Real plane) {
  const int row = int(clip(p.v + 1, s.H + 1)) - 1, column = int(clip(p.u + 1, s.W + 1)) - 1;
  return stored(framed(image, s, row, column, plane), T(0));
}

__device__ __forceinline__ T between(const T* image, const Sample& s, Point p, Real plane) {
  const double down = clip(p.v + 0.5, s.H + 1), right = clip(p.u + 0.5, s.W + 1);
  const int row = min(int(down), s.H) - 1, column = min(int(right), s.W) - 1;
  const Real below = Real(down - 1 - row), beside = Real(right - 1 - column);
  const Real a = framed(image, s, row, column, plane), b = framed(image, s, row, column + 1, plane);
  const Real c = framed(image, s, row + 1, column, plane), d = framed(image, s, row + 1, column + 1, plane);
  const Real upper = a + beside * (b - a), lower = c + beside * (d - c);
  return stored(upper + below * (lower - upper), T(0));
}

// The point that pixel `place` of the result shows through a map.
__device__ __forceinline__ Point through(const double* map, int place, int W) {
  const double x = place % W + 0.5, y = place / W + 0.5;
  const double w = map[6] * x + (map[7] * y + map[8]), whole = fabs(w) < 1e-6 ? 1e-6 : w;
  return {(map[0] * x + (map[1] * y + map[2])) / whole, (map[3] * x + (map[4] * y + map[5])) / whole};
}

// y[n, c, i, j] = x[n, c] at the point (u, v)[n, i, j]; `fill` has C values of the plane, or is null for `plane`.
// Bytes: s N C (H W + OH OW) + 16 N OH OW. Operations: none for the nearest, else 9 N C OH OW.
extern "C" __global__ void sample(const T* __restrict__ x, const double* __restrict__ u, const double* __restrict__ v,
                                  const double* __restrict__ fill, T* __restrict__ y, const Sample s, double plane,
                                  int nearest) {
  FOR_EACH(i, unsigned(s.N) * s.C * s.OH * s.OW) {
    const unsigned area = s.OH * s.OW, image = i / area, point = image / s.C * area + i % area;
    const Real outside = Real(fill ? fill[image % s.C] : plane);
    const T* pixels = x + image * (s.H * s.W);
    const Point p = {u[point], v[point]};
    y[i] = nearest ? at_nearest(pixels, s, p, outside) : between(pixels, s, p, outside);
  }
}

// x seen through a map for each image, nine numbers; OH, OW are H, W.
// Bytes: 2 s N C H W + 72 N. Operations: 14 N C H W, and 9 more between pixels.
extern "C" __global__ void warp(const T* __restrict__ x, const double* __restrict__ maps, const double* __restrict__ fill,
                                T* __restrict__ y, const Sample s, double plane, int nearest) {
  FOR_EACH(i, unsigned(s.N) * s.C * s.H * s.W) {
    const unsigned area = s.H * s.W, image = i / area;
    const Real outside = Real(fill ? fill[image % s.C] : plane);
    const T* pixels = x + image * area;
    const Point p = through(maps + image / s.C * 9, i % area, s.W);
    y[i] = nearest ? at_nearest(pixels, s, p, outside) : between(pixels, s, p, outside);
  }
}

// The ranges of what is drawn for an affine map, as random_maps has them.
struct Ranges {
  double low[6], high[6], center[2];
};

// A map as random_maps and affine_maps make them.
__device__ __forceinline__ void random_map(double* map, const Ranges& r, unsigned long long key, unsigned long long block) {
  double drawn[6];
  const Words words[2] = {philox(key, block), philox(key, block + 1)};
  for (int i = 0; i < 6; i++) drawn[i] = r.low[i] + uniform(words[i / 4].word[i % 4]) * (r.high[i] - r.low[i]);
  const double radians = 0.017453292519943295, turn = drawn[0] * radians, scale = drawn[3];
  const double shear_x = tan(drawn[4] * radians), shear_y = tan(drawn[5] * radians);
  const double cosine = cos(turn) / scale, sine = sin(turn) / scale;
  const double x = r.center[0] + rint(drawn[1]), y = r.center[1] + rint(drawn[2]);
  map[3] = shear_y * cosine - sine;
  map[4] = shear_y * sine + cosine;
  map[0] = cosine + shear_x * map[3];
  map[1] = sine + shear_x * map[4];
  map[2] = r.center[0] - (map[0] * x + map[1] * y);
  map[5] = r.center[1] - (map[3] * x + map[4] * y);
  map[6] = map[7] = 0;
  map[8] = 1;
}

// x seen through a random affine map for each image, which a block of threads draws and applies.
// Bytes: 2 s N C H W. Operations: 14 N C H W, and 9 more between pixels.
extern "C" __global__ void random_affine(const T* __restrict__ x, const double* __restrict__ fill, T* __restrict__ y,
                                         const Sample s, const Ranges ranges, double plane, int nearest,
                                         unsigned long long key, unsigned long long block,
                                         const unsigned long long* __restrict__ moved) {
  __shared__ double map[9];
  for (unsigned n = blockIdx.x; n < s.N; n += gridDim.x) {
    if (threadIdx.x == 0) random_map(map, ranges, key, first_block(block, moved) + 2 * n);
    __syncthreads();
    const unsigned area = s.H * s.W;
    for (unsigned i = threadIdx.x; i < s.C * area; i += blockDim.x) {
      const Real outside = Real(fill ? fill[i / area] : plane);
      const T* pixels = x + (n * s.C + i / area) * area;
      const Point p = through(map, i % area, s.W);
      y[n * s.C * area + i] = nearest ? at_nearest(pixels, s, p, outside) : between(pixels, s, p, outside);
    }
    __syncthreads();
  }
}
