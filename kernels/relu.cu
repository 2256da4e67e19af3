// ReLU and its gradient; see relu.py.

// y = max(x, 0); NaN stays NaN.
// Bytes: 2 s n. Operations: n comparisons.
extern "C" __global__ void relu(const T* __restrict__ x, T* __restrict__ y, int n) {
  FOR_EACH(i, unsigned(n)) y[i] = x[i] < T(0) ? T(0) : x[i];
}

// dx = dy where y > 0, else 0.
// Bytes: 3 s n. Operations: n comparisons.
extern "C" __global__ void relu_grad(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, int n) {
  FOR_EACH(i, unsigned(n)) dx[i] = y[i] > T(0) ? dy[i] : T(0);
}
