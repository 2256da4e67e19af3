/* A CUDA driver and runtime whose device is the CPU, placed below the real CuPy.

   - runtime_*: take the place of the functions of cupy_backends.cuda.api.runtime that CuPy's compiled modules call;
     their signatures are Cython's (the last int says "skip dispatch"). device.py puts them there.
   - cu*: the entry points that CuPy looks up in libcuda.so.1, which this file is built as. A "module" is a shared
     object made by g++ (see compiler.py), a "function" the entry in it that runs a kernel.
   - capture.c: CUDA graphs.

   Memory comes filled with NaN (all bits set), in blocks of exactly the size asked for, and is counted. */
#define _GNU_SOURCE
#include <Python.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_ALLOCATION 2 /* cudaErrorMemoryAllocation */
#define INVALID_VALUE 1
#define INVALID_IMAGE 200
#define NOT_FOUND 500
#define LAUNCH_FAILED 719

/* What device.py reads and sets; the same order there. */
struct {
  size_t memory_limit, memory_used, memory_peak;
  long allocations, launches, library_calls, synchronisations, host_to_device, device_to_host;
  long graph_launches, graph_kernels; /* which are not among the launches */
  unsigned order; /* of the blocks of a launch, see threads.cpp */
  int capturing;
} device = {(size_t)4 << 30};
static char message[1000] = "";

/* The names of the last launches: launch i is in names[i % NAMES]. */
#define NAMES 256
char names[NAMES][128];

/* The same as in threads.hpp. */
struct Launch {
  unsigned grid[3], block[3];
  size_t shared_bytes;
  void** arguments;
  unsigned order;
  char* message;
  size_t message_size;
};
struct Function {
  int (*run)(const struct Launch*);
  char *library, *name;
};

/* ---- runtime ---- */
static PyObject* none(void) { Py_RETURN_NONE; }

static void raise_runtime_error(int code) {
  PyObject* module = PyImport_ImportModule("cupy_backends.cuda.api.runtime");
  PyObject* type = PyObject_GetAttrString(module, "CUDARuntimeError");
  PyObject* error = PyObject_CallFunction(type, "i", code);
  PyErr_SetObject(type, error);
  Py_XDECREF(error);
  Py_DECREF(type);
  Py_DECREF(module);
}

/* A copy, or without a source a fill. */
static void transfer(void* to, const void* from, int value, size_t size, int kind) {
  if (kind == 1) device.host_to_device++;
  if (kind == 2) device.device_to_host++;
  if (from) memmove(to, from, size);
  else memset(to, value, size);
}

#include "capture.c"

/* A block: its size (in 16 bytes, to keep what follows aligned), then the memory. */
intptr_t runtime_malloc(size_t size, int skip) {
  if (is_unsafe_now()) return (intptr_t)refuse(CAPTURE_UNSUPPORTED, 1);
  if (device.memory_used + size > device.memory_limit) { raise_runtime_error(MEMORY_ALLOCATION); return 0; }
  char* block = malloc(16 + size);
  *(size_t*)block = size;
  memset(block + 16, 0xFF, size);
  device.allocations++;
  device.memory_used += size;
  if (device.memory_used > device.memory_peak) device.memory_peak = device.memory_used;
  return (intptr_t)(block + 16);
}
PyObject* runtime_free(intptr_t p, int skip) {
  if (is_unsafe_now()) return refuse(CAPTURE_UNSUPPORTED, 1);
  if (p) {
    char* block = (char*)p - 16;
    device.memory_used -= *(size_t*)block;
    memset((void*)p, 0xFF, *(size_t*)block); /* a read of freed memory shows */
    free(block);
  }
  return none();
}
intptr_t runtime_mallocAsync(size_t size, intptr_t stream, int skip) {
  return route(stream) ? (intptr_t)refuse(NOT_SUPPORTED, 1) : runtime_malloc(size, skip);
}
PyObject* runtime_freeAsync(intptr_t p, intptr_t stream, int skip) {
  return route(stream) ? refuse(NOT_SUPPORTED, 1) : runtime_free(p, skip);
}
intptr_t runtime_hostAlloc(size_t size, unsigned flags, int skip) {
  return is_unsafe_now() ? (intptr_t)refuse(CAPTURE_UNSUPPORTED, 1) : (intptr_t)malloc(size ? size : 1);
}
PyObject* runtime_freeHost(intptr_t p, int skip) { free((void*)p); return none(); }

static PyObject* give(intptr_t stream, intptr_t to, intptr_t from, int value, size_t size, int kind) {
  int found = route(stream);
  if (found > 0) return refuse(found, 1);
  (found == RECORD ? record_memory : transfer)((void*)to, (void*)from, value, size, kind);
  return none();
}
PyObject* runtime_memcpy(intptr_t to, intptr_t from, size_t size, int kind, int skip) {
  if (is_unsafe_now()) return refuse(CAPTURE_UNSUPPORTED, 1);
  device.synchronisations++;
  return give(0, to, from, 0, size, kind);
}
PyObject* runtime_memcpyAsync(intptr_t to, intptr_t from, size_t size, int kind, intptr_t stream, int skip) {
  return give(stream, to, from, 0, size, kind);
}
PyObject* runtime_memset(intptr_t p, int value, size_t size, int skip) { return give(0, p, 0, value, size, 0); }
PyObject* runtime_memsetAsync(intptr_t p, int value, size_t size, intptr_t stream, int skip) {
  return give(stream, p, 0, value, size, 0);
}
PyObject* runtime_memGetInfo(int skip) {
  return Py_BuildValue("(KK)", (unsigned long long)(device.memory_limit - device.memory_used),
                       (unsigned long long)device.memory_limit);
}

/* Streams and events are numbers: all work is done when it is asked for. The last digit is that of their flags. */
intptr_t runtime_handle(int skip) { static intptr_t next = 0x1000; return next += 16; }
intptr_t runtime_handle_flags(unsigned flags, int skip) { return runtime_handle(skip) + flags % 16; }
intptr_t runtime_streamCreateWithPriority(unsigned flags, int priority, int skip) {
  return runtime_handle_flags(flags, skip);
}
float runtime_eventElapsedTime(intptr_t start, intptr_t end, int skip) { return 0.001f; }
PyObject* runtime_nothing(int skip) { return none(); }
PyObject* runtime_nothing_int(int a, int skip) { return none(); }
PyObject* runtime_nothing_handle(intptr_t a, int skip) { return none(); }
PyObject* runtime_ensure_context(void) { return none(); }

int runtime_zero(int skip) { return 0; }
int runtime_one(int skip) { return 1; }
int runtime_version(int skip) { return 12090; }
int runtime_deviceCanAccessPeer(int a, int b, int skip) { return 0; }
int runtime_pointerGetMemoryType(intptr_t p, int skip) { return 2; /* device memory */ }

PyObject* runtime_pointerGetAttributes(intptr_t p, int skip) {
  PyObject* module = PyImport_ImportModule("cupy_backends.cuda.api.runtime");
  PyObject* attributes = PyObject_CallMethod(module, "PointerAttributes", "innn", 0, p, (intptr_t)0, (intptr_t)2);
  Py_DECREF(module);
  return attributes;
}

/* The properties of an sm_80 device, by cudaDeviceAttr. */
int runtime_deviceGetAttribute(int attribute, int index, int skip) {
  switch (attribute) {
    case 1: case 2: case 3: return 1024; /* threads of a block, and its first two sizes */
    case 4: return 64;
    case 5: return 2147483647;     /* grid sizes */
    case 6: case 7: return 65535;
    case 8: return 49152;          /* shared memory of a block */
    case 10: return 32;            /* threads of a warp */
    case 12: return 65536;         /* registers of a block */
    case 16: return 108;           /* multiprocessors */
    case 39: return 2048;          /* threads of a multiprocessor */
    case 75: return 8;             /* compute capability */
    case 76: return 0;
    case 97: return 166912;        /* shared memory of a block that asks for more */
    default: return 0;
  }
}
PyObject* runtime_deviceGetPCIBusId(int index, int skip) { return PyUnicode_FromString("0000:00:00.0"); }
PyObject* runtime_getDeviceProperties(int index, int skip) {
  return Py_BuildValue("{s:y,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:L}", "name", "CPU device", "major", 8, "minor", 0,
                       "warpSize", 32, "multiProcessorCount", 108, "maxThreadsPerBlock", 1024,
                       "maxThreadsPerMultiProcessor", 2048, "sharedMemPerBlock", 49152, "totalGlobalMem",
                       (long long)device.memory_limit);
}

/* ---- driver ---- */
typedef int Result;

Result cuGetErrorName(Result code, const char** name) {
  *name = code == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : code == NOT_FOUND ? "CUDA_ERROR_NOT_FOUND"
          : code == INVALID_IMAGE ? "CUDA_ERROR_INVALID_IMAGE" : "CUDA_ERROR_INVALID_VALUE";
  return 0;
}
Result cuGetErrorString(Result code, const char** text) {
  *text = message;
  return 0;
}
Result cuDevicePrimaryCtxRelease_v2(int index) { return 0; }
Result cuCtxGetCurrent(void** context) { *context = (void*)1; return 0; }
Result cuCtxSetCurrent(void* context) { return 0; }
Result cuCtxGetDevice(int* index) { *index = 0; return 0; }
Result cuStreamGetCtx(void* stream, void** context) { *context = (void*)1; return 0; }

/* The image of a module is the path of a shared object: see compiler.py. */
Result cuModuleLoadData(void** module, const void* image) {
  *module = dlopen(image, RTLD_NOW | RTLD_LOCAL);
  if (*module) return 0;
  snprintf(message, sizeof message, "%s", dlerror());
  return INVALID_IMAGE;
}
Result cuModuleUnload(void* module) { return 0; }
Result cuModuleGetFunction(void** function, void* module, const char* name) {
  char symbol[600];
  snprintf(symbol, sizeof symbol, "launch_%s", name);
  void* run = dlsym(module, symbol);
  snprintf(message, sizeof message, "no kernel is called %s", name);
  if (!run) return NOT_FOUND;
  Dl_info info;
  dladdr(run, &info);
  struct Function* found = *function = malloc(sizeof *found);
  found->run = run, found->library = strdup(info.dli_fname), found->name = strdup(name);
  return 0;
}
Result cuModuleGetGlobal_v2(void** p, size_t* size, void* module, const char* name) {
  *p = dlsym(module, name);
  *size = 0;
  snprintf(message, sizeof message, "no global variable is called %s", name);
  return *p ? 0 : NOT_FOUND;
}

Result cuLaunchKernel(struct Function* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                      unsigned bz, unsigned shared_bytes, intptr_t stream, void** arguments, void** extra) {
  struct Launch launch = {{gx, gy, gz}, {bx, by, bz}, shared_bytes, arguments, device.order, message, sizeof message};
  size_t threads = (size_t)bx * by * bz;
  if (!gx || !gy || !gz || gx > 2147483647u || gy > 65535 || gz > 65535 || !threads || threads > 1024 || bz > 64 ||
      shared_bytes > 49152) {
    snprintf(message, sizeof message, "no device takes a grid of (%u, %u, %u) blocks of (%u, %u, %u) threads with %u "
             "bytes of shared memory", gx, gy, gz, bx, by, bz, shared_bytes);
    return INVALID_VALUE;
  }
  int found = route(stream);
  if (found > 0) {
    snprintf(message, sizeof message, "operation not permitted when stream is capturing");
    return found;
  }
  if (found == RECORD) {
    record_launch(function, &launch);
    return 0;
  }
  snprintf(names[device.launches++ % NAMES], sizeof names[0], "%s", function->name);
  return function->run(&launch) ? LAUNCH_FAILED : 0;
}
Result cuFuncGetAttribute(int* value, int attribute, void* function) {
  *value = attribute == 0 ? 1024 : attribute == 4 ? 32 : 0; /* threads of a block; registers of a thread */
  return 0;
}
Result cuFuncSetAttribute(void* function, int attribute, int value) { return 0; }
Result cuOccupancyMaxPotentialBlockSize(int* grid, int* block, void* f, void* callback, size_t shared, int limit) {
  *grid = 108;
  *block = 256;
  return 0;
}
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int block, size_t shared) {
  *blocks = 2048 / block;
  return 0;
}
