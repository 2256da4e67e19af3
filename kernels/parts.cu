// Puts together what several blocks have summed; see tile.cuh.

// total[i] = sum over s of partial[s, i], in a fixed order; then, for images of `area` pixels, b of the channel is added
// (unless it is null), and max(total, 0) taken if `relu`.
// Bytes: s (parts + 1) n. Operations: parts n.
extern "C" __global__ void sum_parts(const Acc* __restrict__ partial, const T* __restrict__ b, T* __restrict__ total, int n,
                                     int parts, int area, int channels, int relu) {
  FOR_EACH(i, unsigned(n)) {
    Acc sum = 0;
    for (int s = 0; s < parts; s++) sum += partial[unsigned(s) * n + i];
    if (b) sum += Acc(b[i / area % channels]);
    total[i] = T(relu && sum < Acc(0) ? Acc(0) : sum);
  }
}
