// The tile of a matrix product: what conv.cu and matmul.cu have in common.
//
// A block of 128 threads computes ROWS x COLUMNS of the result. It goes through the sum DEPTH terms at a time: it
// copies ROWS x DEPTH numbers of the left matrix and DEPTH x COLUMNS of the right one into shared memory, where each is
// read by 8 or 16 threads, and every thread keeps Y x X sums in registers. While the threads multiply what was copied,
// the next numbers are already on their way from global memory to registers.
//
// The matrices need not exist. A column of the right one (a "place") and a term of the sum are each described by a
// Spot, and two Spots together say where a number lies, so that no division is left in the inner loop:
//
//   right(column, term) = the number at column.offset + term.offset, or 0 if (column.h + term.h, column.w + term.w)
//                         is outside the image
//   left(row, term)     = the number at row * stride + term.left
//
// In front come, from cuda/launch.py, the type T of the arrays, the type Acc that is added in, and ROWS and COLUMNS.

const int THREADS = 128, DEPTH = 8;
const int DOWN = 8, ACROSS = 16;               // the threads of a block, laid over the tile
const int Y = ROWS / DOWN, X = COLUMNS / ACROSS;  // sums of a thread: multiples of 4
const int TABLE = 256;                         // terms described in shared memory at a time
const int GAP = 4;  // between rows of shared memory: puts the writes of a warp into different banks
const int BLOCKS = sizeof(Acc) == 8 ? 2 : Y * X == 64 ? 3 : Y * X == 32 ? 4 : 5;  // that fit on a multiprocessor: bounds the registers

struct alignas(16) Spot {
  int offset, h, w, left;
};
const int OUTSIDE = -(1 << 30);  // as h: outside of every image

// Four neighbours, moved at once.
template <class Number>
struct alignas(sizeof(Number) < 4 ? 8 : 16) Four {
  Number v[4];
};

// The left side: row r has its numbers at r * stride + term.left.
struct Rows {
  const T* data;
  int stride;
  __device__ __forceinline__ T operator()(int row, const Spot& term) const {
    return term.left >= 0 ? data[unsigned(row * stride + term.left)] : T(0);
  }
};

// The right side: images, with zeros around them.
struct Images {
  const T* data;
  int H, W;
  __device__ __forceinline__ T operator()(const Spot& p, const Spot& q) const {
    const int h = p.h + q.h, w = p.w + q.w;
    return unsigned(h) < unsigned(H) && unsigned(w) < unsigned(W) ? data[unsigned(p.offset + q.offset)] : T(0);
  }
};

// Which numbers of one side a thread copies. Neighbouring threads step through what is contiguous in memory: the terms
// of the sum, or the places (rows of the left side, columns of the right).
template <int PLACES, bool TERMS_FIRST>
struct Share {
  static const int SIZE = PLACES * DEPTH / THREADS;
  static_assert(PLACES <= THREADS && SIZE > 0, "a thread copies numbers of one place, or of one term");
  static __device__ __forceinline__ int place(int i) {
    return TERMS_FIRST ? threadIdx.x / DEPTH + i * (THREADS / DEPTH) : threadIdx.x % PLACES;
  }
  static __device__ __forceinline__ int term(int i) {
    return TERMS_FIRST ? threadIdx.x % DEPTH : threadIdx.x / PLACES + i * (THREADS / PLACES);
  }
};

// What a block works on: a tile of one of several products of rows x columns, and a part of the terms.
struct Tile {
  int rows, columns;       // of the result
  int row, column;         // where the tile begins
  int product, part;
  int begin, end;          // of the terms
};
__device__ __forceinline__ unsigned tiles(int n, int size) { return unsigned(n + size - 1) / size; }

// The tile of this block. Neighbours have the same columns: they find in the cache what the other one read of the right
// side.
__device__ __forceinline__ Tile tile(int rows, int columns, int products, int terms, int parts) {
  const unsigned i = blockIdx.x, down = tiles(rows, ROWS), count = down * tiles(columns, COLUMNS);
  const int size = tiles(tiles(terms, parts), DEPTH) * DEPTH, part = i / count / products;
  const int begin = min(part * size, terms);
  return {rows, columns, int(i % down) * ROWS, int(i % count / down) * COLUMNS, int(i / count % products), part, begin,
          min(begin + size, terms)};
}

// Where sums[i][j] of the thread in row y and column x of the block lies in the tile: they come in groups of 4 x 4.
__device__ __forceinline__ int tile_row(int y, int i) { return y * 4 + i / 4 * (4 * DOWN) + i % 4; }
__device__ __forceinline__ int tile_column(int x, int j) { return x * 4 + j / 4 * (4 * ACROSS) + j % 4; }

// sums[i][j] = the sum of left(row, term) right(place, term) over the terms of a tile, for this thread's rows and columns.
// place(column) and term(k) give the Spots.
template <bool LEFT_TERMS_FIRST, bool RIGHT_TERMS_FIRST, class Left, class Right, class Place, class Term>
__device__ __forceinline__ void multiply(Acc (&sums)[Y][X], const Tile& at, const Left& left, const Right& right,
                                         const Place& place, const Term& term) {
  __shared__ __align__(16) Acc a[2][DEPTH][ROWS + GAP];
  __shared__ __align__(16) Acc b[2][DEPTH][COLUMNS + GAP];
  __shared__ __align__(16) Spot places[COLUMNS];
  __shared__ __align__(16) Spot table[TABLE];
  typedef Share<ROWS, LEFT_TERMS_FIRST> A;
  typedef Share<COLUMNS, RIGHT_TERMS_FIRST> B;
#pragma unroll
  for (int i = 0; i < Y; i++)
#pragma unroll
    for (int j = 0; j < X; j++) sums[i][j] = 0;
  const int y = threadIdx.x / ACROSS, x = threadIdx.x % ACROSS;
  const Spot outside{0, OUTSIDE, OUTSIDE, -1};
  if (threadIdx.x < COLUMNS) {
    const int column = at.column + threadIdx.x;
    places[threadIdx.x] = column < at.columns ? place(column) : outside;
  }
  int now = 0;
  for (int first = at.begin; first < at.end + DEPTH; first += DEPTH) {
    // The last round has nothing to copy any more, the first nothing to multiply yet.
    const int begin = (first - at.begin) % TABLE;
    if (begin == 0 && first < at.end) {
#pragma unroll 1  // not often done: keep it short
      for (int t = threadIdx.x; t < TABLE; t += THREADS)
        table[t] = first + t < at.end ? term(first + t) : outside;
      __syncthreads();
    }
    T next_a[A::SIZE], next_b[B::SIZE];
    if (first < at.end) {
#pragma unroll
      for (int i = 0; i < A::SIZE; i++) next_a[i] = left(min(at.row + A::place(i), at.rows - 1), table[begin + A::term(i)]);
#pragma unroll
      for (int i = 0; i < B::SIZE; i++) next_b[i] = right(places[B::place(i)], table[begin + B::term(i)]);
    }
    if (first > at.begin) {
#pragma unroll
      for (int k = 0; k < DEPTH; k++) {
        Four<Acc> p[Y / 4], q[X / 4];
#pragma unroll
        for (int i = 0; i < Y / 4; i++) p[i] = *(const Four<Acc>*)&a[now][k][tile_row(y, 4 * i)];
#pragma unroll
        for (int j = 0; j < X / 4; j++) q[j] = *(const Four<Acc>*)&b[now][k][tile_column(x, 4 * j)];
#pragma unroll
        for (int i = 0; i < Y; i++)
#pragma unroll
          for (int j = 0; j < X; j++) sums[i][j] += p[i / 4].v[i % 4] * q[j / 4].v[j % 4];
      }
    }
    if (first < at.end) {
      now ^= 1;
#pragma unroll
      for (int i = 0; i < A::SIZE; i++) a[now][A::term(i)][A::place(i)] = Acc(next_a[i]);
#pragma unroll
      for (int i = 0; i < B::SIZE; i++) b[now][B::term(i)][B::place(i)] = Acc(next_b[i]);
    }
    __syncthreads();
  }
}

// How a result lies in memory: rows are `stride` apart; a row comes in lines of neighbours, `jump` apart.
struct Layout {
  int stride, line, jump;
};

// last(row, sum) of every sum of the tile to its place in `out`. The sums go through shared memory, 8 rows at a time, so
// that neighbouring threads write what is neighbouring in memory.
template <class Number, class Last>
__device__ __forceinline__ void store_at(Number* out, const Acc (&sums)[Y][X], const Tile& at, const Layout& layout,
                                         const Last& last) {
  __shared__ __align__(16) Acc stage[DOWN][COLUMNS + GAP];
  const int x = threadIdx.x % COLUMNS, column = at.column + x;
  Number* const to = out + column / layout.line * layout.jump + column % layout.line;
#pragma unroll
  for (int i = 0; i < Y; i++) {
    __syncthreads();
#pragma unroll
    for (int j = 0; j < X; j++) stage[threadIdx.x / ACROSS][tile_column(threadIdx.x % ACROSS, j)] = sums[i][j];
    __syncthreads();
#pragma unroll 2
    for (int y = threadIdx.x / COLUMNS; y < DOWN; y += THREADS / COLUMNS) {
      const int row = at.row + tile_row(y, i);
      if (row < at.rows && column < at.columns) to[row * layout.stride] = Number(last(row, stage[y][x]));
    }
  }
}

// The result of the tile: to `whole`, or, of several parts, to partial[part]. `offset` is where the product begins in the
// result, which has `size` elements in all.
template <class Last>
__device__ __forceinline__ void store(T* whole, Acc* partial, int offset, int size, const Acc (&sums)[Y][X],
                                      const Tile& at, const Layout& layout, const Last& last) {
  Acc* const sum_to = partial + at.part * size + offset;
  if constexpr (sizeof(T) == sizeof(Acc))
    store_at(partial ? sum_to : (Acc*)whole + offset, sums, at, layout, last);
  else if (partial)
    store_at(sum_to, sums, at, layout, last);
  else
    store_at(whole + offset, sums, at, layout, last);
}
