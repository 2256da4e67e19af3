// Optimizer steps; see optim.py for the formulas. One launch updates all parameters (up to MAX_TENSORS): the arrays
// come as a table of pointers, by value, and each block takes chunks of CHUNK elements from it.
//
// Bytes and operations are for n elements in all; s is the bytes of a T.

const int MAX_TENSORS = 48, CHUNK = 2048;

struct Tensors {
  T* arrays[5][MAX_TENSORS];     // g, p and up to three states
  double scales[2][MAX_TENSORS];  // numbers that differ from tensor to tensor
  int sizes[MAX_TENSORS];
  int first_chunk[MAX_TENSORS + 1];  // of each tensor, and how many there are in all
  int count;
};

// Calls update(tensor, i) for element i of each tensor, once.
template <class Update>
__device__ __forceinline__ void for_each_element(const Tensors& t, Update update) {
  for (int chunk = blockIdx.x; chunk < t.first_chunk[t.count]; chunk += gridDim.x) {
    int tensor = 0;
    while (chunk >= t.first_chunk[tensor + 1]) tensor++;
    const int begin = (chunk - t.first_chunk[tensor]) * CHUNK, end = min(t.sizes[tensor] - begin, CHUNK) + begin;
    for (int i = begin + threadIdx.x; i < end; i += blockDim.x) update(tensor, i);
  }
}

__device__ __forceinline__ T direction(T g, T p, T weight_decay, int maximize) {
  return (maximize ? -g : g) + weight_decay * p;
}

// Arrays: g, p, and b if momentum is not 0. `gain` is 1 - dampening.
// Bytes: 5 s n (3 s n without momentum). Operations: 6 n.
extern "C" __global__ void sgd(const Tensors t, T lr, T momentum, T gain, T weight_decay, int nesterov, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    T& p = t.arrays[1][tensor][i];
    T g = direction(t.arrays[0][tensor][i], p, weight_decay, maximize);
    if (momentum != T(0)) {
      T& b = t.arrays[2][tensor][i];
      b = momentum * b + gain * g;
      g = nesterov ? g + momentum * b : b;
    }
    p -= lr * g;
  });
}

// Arrays: g, p, m, v, and the largest v with amsgrad. Scales: lr / (1 - beta1^t) and sqrt(1 - beta2^t).
// Bytes: 7 s n (9 s n with amsgrad). Operations: 14 n.
extern "C" __global__ void adam(const Tensors t, T gain1, T beta2, T gain2, T eps, T weight_decay, T shrink, int amsgrad,
                                int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    T& p = t.arrays[1][tensor][i];
    p *= shrink;
    const T g = direction(t.arrays[0][tensor][i], p, weight_decay, maximize);
    T& m = t.arrays[2][tensor][i];
    T& v = t.arrays[3][tensor][i];
    m += gain1 * (g - m);
    v = beta2 * v + gain2 * g * g;
    T used = v;
    if (amsgrad) {
      T& largest = t.arrays[4][tensor][i];
      if (v > largest || v != v) largest = v;
      used = largest;
    }
    p -= T(t.scales[0][tensor]) * m / (sqrt(used) / T(t.scales[1][tensor]) + eps);
  });
}

// Arrays: g, p, v, a, b; a is null unless centered, b unless momentum is not 0. `gain` is 1 - alpha.
// Bytes: 5 s n (2 s n more for each of a and b). Operations: 8 to 14 n.
extern "C" __global__ void rmsprop(const Tensors t, T lr, T alpha, T gain, T eps, T weight_decay, T momentum, int centered,
                                   int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    T& p = t.arrays[1][tensor][i];
    const T g = direction(t.arrays[0][tensor][i], p, weight_decay, maximize);
    T& v = t.arrays[2][tensor][i];
    v = alpha * v + gain * g * g;
    T variance = v;
    if (centered) {
      T& a = t.arrays[3][tensor][i];
      a += gain * (g - a);
      variance = v - a * a;
    }
    T d = g / (sqrt(variance) + eps);
    if (momentum != T(0)) {
      T& b = t.arrays[4][tensor][i];
      d = b = momentum * b + d;
    }
    p -= lr * d;
  });
}

// Arrays: g, p, v, u. `gain` is 1 - rho.
// Bytes: 7 s n. Operations: 14 n.
extern "C" __global__ void adadelta(const Tensors t, T lr, T rho, T gain, T eps, T weight_decay, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    T& p = t.arrays[1][tensor][i];
    const T g = direction(t.arrays[0][tensor][i], p, weight_decay, maximize);
    T& v = t.arrays[2][tensor][i];
    T& u = t.arrays[3][tensor][i];
    v = rho * v + gain * g * g;
    const T d = sqrt(u + eps) / sqrt(v + eps) * g;
    u = rho * u + gain * d * d;
    p -= lr * d;
  });
}

// Arrays: g, p, sum. Scales: lr / (1 + (t - 1) lr_decay).
// Bytes: 5 s n. Operations: 8 n.
extern "C" __global__ void adagrad(const Tensors t, T weight_decay, T eps, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    T& p = t.arrays[1][tensor][i];
    const T g = direction(t.arrays[0][tensor][i], p, weight_decay, maximize);
    T& sum = t.arrays[2][tensor][i];
    sum += g * g;
    p -= T(t.scales[0][tensor]) * g / (sqrt(sum) + eps);
  });
}
