/* Stream capture and graphs; part of driver.c. What is given to a stream that captures becomes a node of a graph, with
   copies of a kernel's arguments, and is done, one node after the other, when the graph is launched.

   What CUDA refuses while a stream captures is refused here, with its error code. Most refusals make the capture
   invalid: whatever follows in it fails, and so does its end. Unlike CUDA, only one stream captures at a time, and no
   other stream or graph can become a part of the graph. */

#define ILLEGAL_STATE 401
#define NOT_SUPPORTED 801
#define CAPTURE_UNSUPPORTED 900
#define CAPTURE_INVALIDATED 901
#define CAPTURE_ISOLATION 905
#define CAPTURE_IMPLICIT 906
#define CAPTURED_EVENT 907

#define RELAXED 2      /* cudaStreamCaptureModeRelaxed */
#define NON_BLOCKING 1 /* cudaStreamNonBlocking; the last digit of a stream's handle */
#define RECORD -1      /* see route() */

struct Node {
  struct Node* next;
  struct Function* function; /* of a kernel; NULL for a copy or a fill */
  struct Launch launch;
  void* to;
  const void* from; /* NULL for a fill */
  int value, kind;
  size_t size;
};
struct Graph {
  int owners;
  struct Node* first;
  struct Node** end;
};
static struct {
  struct Graph* graph; /* NULL while nothing is captured */
  intptr_t stream;
  int mode, invalid, events;
  intptr_t event[64]; /* those last recorded in a capture */
} capture;

/* The sizes of a kernel's parameters: device.py finds them out. */
int (*parameter_sizes)(const char* library, const char* kernel, size_t* sizes);

static PyObject* refuse(int code, int invalidates) {
  capture.invalid |= invalidates;
  raise_runtime_error(code);
  return NULL;
}

/* What to do with work for a stream: 0 do it, RECORD, or an error code. */
static int route(intptr_t stream) {
  if (!capture.graph) return 0;
  if (stream == capture.stream) return capture.invalid ? CAPTURE_INVALIDATED : RECORD;
  if (stream > 1 || capture.stream & NON_BLOCKING) return 0; /* 0 and 1: the legacy stream, which waits for others */
  capture.invalid = 1;
  return CAPTURE_IMPLICIT;
}

/* cudaMalloc and the like, which are no part of a graph and may wait. */
static int is_unsafe_now(void) { return capture.graph && capture.mode != RELAXED; }

static struct Node* new_node(void) {
  struct Node* node = calloc(1, sizeof *node);
  *capture.graph->end = node;
  capture.graph->end = &node->next;
  return node;
}
static void record_memory(void* to, const void* from, int value, size_t size, int kind) {
  struct Node* node = new_node();
  node->to = to, node->from = from, node->value = value, node->size = size, node->kind = kind;
}
static void record_launch(struct Function* function, const struct Launch* launch) {
  size_t sizes[64];
  int count = parameter_sizes(function->library, function->name, sizes);
  struct Node* node = new_node();
  node->function = function;
  node->launch = *launch;
  node->launch.arguments = calloc(count + 1, sizeof(void*));
  for (int i = 0; i < count; i++) {
    node->launch.arguments[i] = malloc(sizes[i]);
    memcpy(node->launch.arguments[i], launch->arguments[i], sizes[i]);
  }
}

static void release(struct Graph* graph) {
  if (--graph->owners) return;
  for (struct Node *node = graph->first, *next; node; node = next) {
    next = node->next;
    for (void** argument = node->launch.arguments; argument && *argument; argument++) free(*argument);
    free(node->launch.arguments);
    free(node);
  }
  free(graph);
}

struct BeginOptions { int given, mode; };
PyObject* runtime_streamBeginCapture(intptr_t stream, int skip, struct BeginOptions* options) {
  if (capture.graph) return refuse(ILLEGAL_STATE, 0);
  if (stream <= 1) return refuse(CAPTURE_UNSUPPORTED, 0);
  struct Graph* graph = calloc(1, sizeof *graph);
  graph->owners = 1, graph->end = &graph->first;
  capture.graph = graph, capture.stream = stream, capture.invalid = 0;
  capture.mode = options && options->given ? options->mode : RELAXED;
  device.capturing = 1;
  return none();
}
intptr_t runtime_streamEndCapture(intptr_t stream, int skip) {
  if (!capture.graph || stream != capture.stream) return (intptr_t)refuse(ILLEGAL_STATE, 0);
  struct Graph* graph = capture.graph;
  capture.graph = NULL, device.capturing = 0;
  if (!capture.invalid) return (intptr_t)graph;
  release(graph);
  return (intptr_t)refuse(CAPTURE_INVALIDATED, 0);
}
int runtime_streamIsCapturing(intptr_t stream, int skip) {
  if (!capture.graph || stream != capture.stream) return 0;
  if (!capture.invalid) return 1;
  PyErr_SetString(PyExc_RuntimeError,
                  "the stream was capturing, but an error has invalidated the capture sequence"); /* as CuPy says */
  return -1;
}

intptr_t runtime_graphInstantiate(intptr_t graph, int skip) {
  ((struct Graph*)graph)->owners++; /* nobody changes it any more */
  return graph;
}
PyObject* runtime_graphDestroy(intptr_t graph, int skip) { release((struct Graph*)graph); return none(); }
PyObject* runtime_graphExecDestroy(intptr_t graph, int skip) { return runtime_graphDestroy(graph, skip); }
PyObject* runtime_graphUpload(intptr_t graph, intptr_t stream, int skip) { return none(); }
PyObject* runtime_graphLaunch(intptr_t graph, intptr_t stream, int skip) {
  int found = route(stream);
  if (found) return refuse(found == RECORD ? NOT_SUPPORTED : found, 1);
  device.graph_launches++;
  for (struct Node* node = ((struct Graph*)graph)->first; node; node = node->next) {
    if (!node->function) {
      transfer(node->to, node->from, node->value, node->size, node->kind);
      continue;
    }
    device.graph_kernels++;
    node->launch.order = device.order;
    if (node->function->run(&node->launch)) return refuse(LAUNCH_FAILED, 0);
  }
  return none();
}

/* Waiting, and asking whether work is done. */
PyObject* runtime_deviceSynchronize(int skip) {
  if (capture.graph) return refuse(CAPTURE_UNSUPPORTED, 1);
  device.synchronisations++;
  return none();
}
PyObject* runtime_streamSynchronize(intptr_t stream, int skip) {
  int found = route(stream);
  if (found) return refuse(found == RECORD ? CAPTURE_UNSUPPORTED : found, 1);
  device.synchronisations++;
  return none();
}
PyObject* runtime_streamQuery(intptr_t stream, int skip) {
  int found = route(stream);
  return found ? refuse(found == RECORD ? CAPTURE_UNSUPPORTED : found, 1) : PyLong_FromLong(0);
}

static int captured_event(intptr_t event) {
  for (int i = 0; i < capture.events; i++)
    if (capture.event[i] == event) return i + 1;
  return 0;
}
PyObject* runtime_eventRecord(intptr_t event, intptr_t stream, int skip) {
  int found = route(stream), at = captured_event(event);
  if (found > 0 || (found == RECORD && capture.events == 64)) return refuse(found > 0 ? found : NOT_SUPPORTED, 1);
  if (found == RECORD && !at) capture.event[capture.events++] = event;
  if (found == 0 && at) capture.event[at - 1] = capture.event[--capture.events];
  return none();
}
PyObject* runtime_eventSynchronize(intptr_t event, int skip) {
  if (captured_event(event)) return refuse(CAPTURED_EVENT, 1);
  device.synchronisations++;
  return none();
}
PyObject* runtime_eventQuery(intptr_t event, int skip) {
  return captured_event(event) ? refuse(CAPTURED_EVENT, 1) : PyLong_FromLong(0);
}
PyObject* runtime_streamWaitEvent(intptr_t stream, intptr_t event, int skip, void* options) {
  int recording = route(stream) == RECORD, captured = captured_event(event) > 0;
  if (recording && !captured) return refuse(CAPTURE_ISOLATION, 1);
  if (captured && !recording) return refuse(NOT_SUPPORTED, 1);
  return none();
}
