// Optimizer steps; see optim.py for the formulas. One launch updates all parameters (up to MAX_TENSORS): the arrays
// come as a table of pointers, by value, and each block takes chunks of CHUNK elements from it.
//
// Bytes and operations are for n elements in all; s is the bytes of a T. Each element is loaded, updated as Acc, stored.

const int MAX_TENSORS = 48, CHUNK = 2048;

struct Tensors {
  T* arrays[5][MAX_TENSORS];     // g, p and up to three states
  double scales[2][MAX_TENSORS];  // numbers that differ from tensor to tensor
  int sizes[MAX_TENSORS];
  int first_chunk[MAX_TENSORS + 1];  // of each tensor, and how many there are in all
  int count;

  __device__ __forceinline__ Acc operator()(int list, int tensor, int i) const { return Acc(arrays[list][tensor][i]); }
  __device__ __forceinline__ void store(int list, int tensor, int i, Acc value) const { arrays[list][tensor][i] = T(value); }
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

__device__ __forceinline__ Acc direction(Acc g, Acc p, Acc weight_decay, int maximize) {
  return (maximize ? -g : g) + weight_decay * p;
}

// Arrays: g, p, and b if momentum is not 0. `gain` is 1 - dampening.
// Bytes: 5 s n (3 s n without momentum). Operations: 6 n.
extern "C" __global__ void sgd(const Tensors t, Acc lr, Acc momentum, Acc gain, Acc weight_decay, int nesterov,
                               int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    const Acc p = t(1, tensor, i);
    Acc g = direction(t(0, tensor, i), p, weight_decay, maximize);
    if (momentum != Acc(0)) {
      const Acc b = momentum * t(2, tensor, i) + gain * g;
      t.store(2, tensor, i, b);
      g = nesterov ? g + momentum * b : b;
    }
    t.store(1, tensor, i, p - lr * g);
  });
}

// Arrays: g, p, m, v, and the largest v with amsgrad. Scales: lr / (1 - beta1^t) and sqrt(1 - beta2^t).
// Bytes: 7 s n (9 s n with amsgrad). Operations: 14 n.
extern "C" __global__ void adam(const Tensors t, Acc gain1, Acc beta2, Acc gain2, Acc eps, Acc weight_decay, Acc shrink,
                                int amsgrad, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    const Acc p = t(1, tensor, i) * shrink;
    const Acc g = direction(t(0, tensor, i), p, weight_decay, maximize), before = t(2, tensor, i);
    const Acc m = before + gain1 * (g - before), v = beta2 * t(3, tensor, i) + gain2 * g * g;
    Acc used = v;
    if (amsgrad) {
      const Acc largest = t(4, tensor, i);
      used = v > largest || v != v ? v : largest;
      t.store(4, tensor, i, used);
    }
    t.store(2, tensor, i, m);
    t.store(3, tensor, i, v);
    t.store(1, tensor, i, p - Acc(t.scales[0][tensor]) * m / (sqrt(used) / Acc(t.scales[1][tensor]) + eps));
  });
}

// Arrays: g, p, v, a, b; a is null unless centered, b unless momentum is not 0. `gain` is 1 - alpha.
// Bytes: 5 s n (2 s n more for each of a and b). Operations: 8 to 14 n.
extern "C" __global__ void rmsprop(const Tensors t, Acc lr, Acc alpha, Acc gain, Acc eps, Acc weight_decay, Acc momentum,
                                   int centered, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    const Acc p = t(1, tensor, i), g = direction(t(0, tensor, i), p, weight_decay, maximize);
    const Acc v = alpha * t(2, tensor, i) + gain * g * g;
    t.store(2, tensor, i, v);
    Acc variance = v;
    if (centered) {
      const Acc before = t(3, tensor, i), a = before + gain * (g - before);
      t.store(3, tensor, i, a);
      variance = v - a * a;
    }
    Acc d = g / (sqrt(variance) + eps);
    if (momentum != Acc(0)) {
      d += momentum * t(4, tensor, i);
      t.store(4, tensor, i, d);
    }
    t.store(1, tensor, i, p - lr * d);
  });
}

// Arrays: g, p, v, u. `gain` is 1 - rho.
// Bytes: 7 s n. Operations: 14 n.
extern "C" __global__ void adadelta(const Tensors t, Acc lr, Acc rho, Acc gain, Acc eps, Acc weight_decay, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    const Acc p = t(1, tensor, i), g = direction(t(0, tensor, i), p, weight_decay, maximize);
    const Acc v = rho * t(2, tensor, i) + gain * g * g, u = t(3, tensor, i);
    const Acc d = sqrt(u + eps) / sqrt(v + eps) * g;
    t.store(2, tensor, i, v);
    t.store(3, tensor, i, rho * u + gain * d * d);
    t.store(1, tensor, i, p - lr * d);
  });
}

// Arrays: g, p, sum. Scales: lr / (1 + (t - 1) lr_decay).
// Bytes: 5 s n. Operations: 8 n.
extern "C" __global__ void adagrad(const Tensors t, Acc weight_decay, Acc eps, int maximize) {
  for_each_element(t, [&](int tensor, int i) {
    const Acc p = t(1, tensor, i), g = direction(t(0, tensor, i), p, weight_decay, maximize);
    const Acc sum = t(2, tensor, i) + g * g;
    t.store(2, tensor, i, sum);
    t.store(1, tensor, i, p - Acc(t.scales[0][tensor]) * g / (sqrt(sum) + eps));
  });
}
