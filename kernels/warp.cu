// Images sampled at arbitrary points; see warp.py. One thread makes one element of the result.

struct Sample {
  int N, C, H, W, OH, OW;
};

// Pixel (row, column) of an image with one pixel of the plane around it on each side.
__device__ __forceinline__ T framed(const T* image, const Sample& v, int row, int column, T plane) {
  const int h = row - 1, w = column - 1;
  return h >= 0 && h < v.H && w >= 0 && w < v.W ? image[h * v.W + w] : plane;
}

__device__ __forceinline__ double clip(double value, double limit) { return fmin(fmax(value, 0.0), limit); }

// y[n, c, i, j] = x[n, c] at the point (u, v)[n, i, j]; `fill` has C values of the plane, or is null for `plane`.
// Bytes: s N C (H W + OH OW) + 16 N OH OW. Operations: none.
extern "C" __global__ void sample_nearest(const T* __restrict__ x, const double* __restrict__ u, const double* __restrict__ v,
                                          const T* __restrict__ fill, T* __restrict__ y, const Sample s, T plane) {
  FOR_EACH(i, unsigned(s.N) * s.C * s.OH * s.OW) {
    const unsigned area = s.OH * s.OW, image = i / area, point = image / s.C * area + i % area;
    const int row = int(clip(v[point] + 1, s.H + 1)), column = int(clip(u[point] + 1, s.W + 1));
    y[i] = framed(x + image * (s.H * s.W), s, row, column, fill ? fill[image % s.C] : plane);
  }
}

// The same between the four pixels around the point.
// Bytes: s N C (H W + OH OW) + 16 N OH OW. Operations: 9 N C OH OW.
extern "C" __global__ void sample_bilinear(const T* __restrict__ x, const double* __restrict__ u, const double* __restrict__ v,
                                           const T* __restrict__ fill, T* __restrict__ y, const Sample s, T plane) {
  FOR_EACH(i, unsigned(s.N) * s.C * s.OH * s.OW) {
    const unsigned area = s.OH * s.OW, image = i / area, point = image / s.C * area + i % area;
    const double down = clip(v[point] + 0.5, s.H + 1), right = clip(u[point] + 0.5, s.W + 1);
    const int row = min(int(down), s.H), column = min(int(right), s.W);
    const T below = T(down - row), beside = T(right - column), outside = fill ? fill[image % s.C] : plane;
    const T* pixels = x + image * (s.H * s.W);
    const T a = framed(pixels, s, row, column, outside), b = framed(pixels, s, row, column + 1, outside);
    const T c = framed(pixels, s, row + 1, column, outside), d = framed(pixels, s, row + 1, column + 1, outside);
    const T upper = a + beside * (b - a), lower = c + beside * (d - c);
    y[i] = upper + below * (lower - upper);
  }
}
