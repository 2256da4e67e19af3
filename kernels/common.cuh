// In front of every .cu file, after `typedef float T;` (or another type of the arrays): see cuda/launch.py.

// Each element once, whatever the number of threads. 32-bit indices: launch.py refuses more than 2^31 elements, and the
// step is far below the other 2^31.
#define FOR_EACH(i, n) for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// Bad data that only a kernel sees, such as a label that is no class. The kernel goes on with harmless values and leaves
// a note in the host's memory; the host reads it when it waits for the device anyway: see cuda/fault.py.
enum FaultCode { NO_FAULT, POOL_INDEX, CLASS_LABEL, GATHER_INDEX, PROBABILITY };
struct Fault {
  int code, value, limit;
};
__device__ __forceinline__ void report(Fault* fault, FaultCode code, int value, int limit) {
  // Several threads may write at once: each writes a true note of the same kind, and one of them stays.
  volatile Fault* note = fault;
  note->value = value;
  note->limit = limit;
  note->code = code;
}
