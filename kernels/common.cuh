// In front of every .cu file, after `typedef float T;` (or another type of the arrays): see cuda/launch.py.

// Each element once, whatever the number of threads. 32-bit indices: launch.py refuses more than 2^31 elements, and the
// step is far below the other 2^31.
#define FOR_EACH(i, n) for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)
