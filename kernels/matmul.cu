// The matrix product; see matmul.py. cuBLAS does it where it can, but not while a CUDA graph is captured, and not for
// float16 added up in float32. tile.cuh has the product; here a matrix is an image of one pixel.
//
// Bytes and operations are for one launch, with `s` the bytes of a T.

#include "tile.cuh"

// z = x y, `products` times. Element (m, k) of x is at m x_row + k x_term, (k, n) of y at k y_term + n y_column; the next
// product's are x_next and y_next further (0: all have the same).
struct Product {
  int rows, columns, terms, products;
  int x_row, x_term, x_next, y_term, y_column, y_next;
};

template <bool X_TERMS_FIRST, bool Y_TERMS_FIRST>
__device__ __forceinline__ void matmul(const T* x, const T* y, T* z, Acc* partial, int parts, const Product& v) {
  const Tile t = tile(v.rows, v.columns, v.products, v.terms, parts);
  const int size = v.rows * v.columns;
  Acc sums[Y][X];
  multiply<X_TERMS_FIRST, Y_TERMS_FIRST>(
      sums, t, Rows{x, v.x_row}, Images{y, 1, 1},
      [&](int n) { return Spot{t.product * v.y_next + n * v.y_column, 0, 0, 0}; },
      [&](int k) { return Spot{k * v.y_term, 0, 0, t.product * v.x_next + k * v.x_term}; });
  store(z, partial, t.product * size, v.products * size, sums, t, Layout{v.columns, v.columns, 0},
        [](int, Acc sum) { return sum; });
}

// Both row by row in memory.
// Bytes: s products (M K + K N + M N). Operations: 2 products M N K.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    matmul_nn(const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ z, Acc* __restrict__ partial, int parts,
              const Product v) {
  matmul<true, false>(x, y, z, partial, parts, v);
}

// y column by column.
// Bytes: s products (M K + K N + M N). Operations: 2 products M N K.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    matmul_nt(const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ z, Acc* __restrict__ partial, int parts,
              const Product v) {
  matmul<true, true>(x, y, z, partial, parts, v);
}

// x column by column.
// Bytes: s products (M K + K N + M N). Operations: 2 products M N K.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    matmul_tn(const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ z, Acc* __restrict__ partial, int parts,
              const Product v) {
  matmul<false, false>(x, y, z, partial, parts, v);
}
