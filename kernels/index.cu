// Indices and labels: indexing with arrays (see index.py), and the check of classes.

// Sums of floats are taken in double, of integers in their own type.
template <class Number> struct Sum { typedef Number type; };
template <> struct Sum<float> { typedef double type; };

// out[p] = the sum of values[order[k]] for starts[p] <= k < starts[p + 1], where `order` sorts the positions. One thread
// adds all that goes to one place, in the order in which it stands: no atomics, the same bits in every run.
// Bytes: 2 s n + 16 n + 8 size. Operations: n additions.
extern "C" __global__ void scatter_sum(const long long* __restrict__ order, const long long* __restrict__ starts,
                                       const T* __restrict__ values, T* __restrict__ out, int size) {
  FOR_EACH(p, unsigned(size)) {
    Sum<T>::type sum = 0;
    for (long long k = starts[p]; k < starts[p + 1]; k++) sum += values[order[k]];
    out[p] = T(sum);
  }
}

// Notes an index outside -limit .. limit - 1; T is the type of the indices.
// Bytes: s n. Operations: 2 n comparisons.
extern "C" __global__ void check_index(const T* __restrict__ index, int n, int limit, Fault* fault) {
  FOR_EACH(i, unsigned(n)) {
    const long long at = index[i];
    if (at < -(long long)limit || at >= limit) report(fault, GATHER_INDEX, int(at), limit);
  }
}

// labels = t, -1 where it is ignore_index (see class_labels in loss.py); notes a class outside 0 .. C - 1. T is the type of t.
// Bytes: (s + 8) n. Operations: 3 n comparisons.
extern "C" __global__ void class_labels(const T* __restrict__ t, long long* __restrict__ labels, int n, int C,
                                        long long ignore_index, Fault* fault) {
  FOR_EACH(i, unsigned(n)) {
    const long long label = t[i];
    const bool counts = label != ignore_index, valid = label >= 0 && label < C;
    if (counts && !valid) report(fault, CLASS_LABEL, int(label), C);
    labels[i] = counts && valid ? label : -1;
  }
}
