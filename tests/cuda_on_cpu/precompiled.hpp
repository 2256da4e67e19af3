// What every kernel of CuPy includes, compiled once.
#include "device_library.hpp"
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
