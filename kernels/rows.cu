// Rows of a data set; see rows.py.

// The row that index[i] means among N, from the end if it is negative; notes one that there is not.
__device__ __forceinline__ unsigned row_of(const long long* index, unsigned i, int N, Fault* fault) {
  const long long at = index[i];
  const bool valid = at >= -(long long)N && at < N;
  if (!valid) report(fault, GATHER_INDEX, int(at), N);
  return valid ? unsigned(at < 0 ? at + N : at) : 0;
}

// y[i] = x[index[i]] for n rows of `size` elements.
// Bytes: 2 s n size + 8 n. Operations: none.
extern "C" __global__ void take_rows(const T* __restrict__ x, const long long* __restrict__ index, T* __restrict__ y, int n,
                                     int size, int N, Fault* fault) {
  FOR_EACH(i, unsigned(n) * size) y[i] = x[row_of(index, i / size, N, fault) * size + i % size];
}

// y[i, c, p] = table[c, x[index[i], p, c]] for n images of `area` pixels; T is the type of the table. `index` may be null.
// Bytes: (1 + s) n C area + 8 n + 256 s C. Operations: none.
extern "C" __global__ void look_up_rows(const unsigned char* __restrict__ x, const long long* __restrict__ index,
                                        const T* __restrict__ table, T* __restrict__ y, int n, int C, int area, int N,
                                        Fault* fault) {
  FOR_EACH(i, unsigned(n) * C * area) {
    const unsigned image = i / (C * area), c = i / area % C, pixel = i % area;
    const unsigned row = index ? row_of(index, image, N, fault) : image;
    y[i] = table[c * 256 + x[(row * area + pixel) * C + c]];
  }
}
