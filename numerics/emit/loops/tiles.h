/* Sums of products, a tile of them in the registers at a time: each number that is read is used for a row or a column of it. */
#if defined(__AVX512F__)
#define BYTES 64
#define VECTORS 4
#elif defined(__AVX__)
#define BYTES 32
#define VECTORS 2
#else
#define BYTES 16
#define VECTORS 2
#endif
#define LANES ((long)(BYTES / sizeof(REAL)))
#define BLOCK (VECTORS * LANES) /* columns for which the other factor is read from the cache */
#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif
typedef REAL vector __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));

/* out[row, column] += sum over taps and depth of one[row, tap, depth] * many[tap, depth, column]; columns are next to each other. */
typedef struct {
  long rows, first, columns, taps, depth;
  const REAL *one, *many;
  REAL *out;
  const long *one_at, *many_at;
  long one_row, one_depth, many_depth, out_row;
} Products;

static inline __attribute__((always_inline)) void tile(
    const Products *const p, const int rows, const int vectors, long row, long column, long known) {
  vector total[16][VECTORS];
  const REAL *first = p->one + row * p->one_row, *beside = p->many + column;
  UNROLLED for (int r = 0; r < rows; r++) UNROLLED for (int v = 0; v < vectors; v++) total[r][v] = (vector){0};
  for (long t = 0; t < p->taps; t++) {
    const REAL *one = first + p->one_at[t], *many = beside + p->many_at[t];
    for (long k = 0; k < p->depth; k++, one += p->one_depth, many += p->many_depth) {
      vector next[VECTORS];
      UNROLLED for (int v = 0; v < vectors; v++) next[v] = *(const vector *)(many + v * LANES);
      UNROLLED for (int r = 0; r < rows; r++) {
        const REAL x = one[r * p->one_row];
        UNROLLED for (int v = 0; v < vectors; v++) total[r][v] += x * next[v];
      }
    }
  }
  UNROLLED for (int r = 0; r < rows; r++) {
    REAL *out = p->out + (row + r) * p->out_row + column;
    if (known) { /* the first columns of the last vector are those of the one before it */
      for (long l = known; l < LANES; l++) out[l] += total[r][0][l];
    } else {
      UNROLLED for (int v = 0; v < vectors; v++) *(vector *)(out + v * LANES) += total[r][v];
    }
  }
}

/* Rows in tiles of nearly the same height, at most as many as the registers hold. */
#define TILE(n, vectors) case n: tile(p, n, vectors, row, column, known); break;
static void four(const Products *p, int rows, long row, long column, long known) {
#if VECTORS == 4
  switch (rows) { TILE(1, 4) TILE(2, 4) TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4) }
#endif
}
static void two(const Products *p, int rows, long row, long column, long known) {
  switch (rows) {
    TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
#if VECTORS == 4
    TILE(7, 2) TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2)
#endif
  }
}
static void one(const Products *p, int rows, long row, long column, long known) {
  switch (rows) {
    TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1) TILE(7, 1) TILE(8, 1)
#if VECTORS == 4
    TILE(9, 1) TILE(10, 1) TILE(11, 1) TILE(12, 1) TILE(13, 1) TILE(14, 1) TILE(15, 1) TILE(16, 1)
#endif
  }
}

/* The columns from p.first on, as many as a block has. */
static void products(const Products p) {
  const long end = p.columns - p.first > BLOCK ? p.first + BLOCK : p.columns;
  if (p.columns < LANES) {
    for (long r = 0; r < p.rows; r++)
      for (long c = p.first; c < end; c++)
        for (long t = 0; t < p.taps; t++)
          for (long k = 0; k < p.depth; k++)
            p.out[r * p.out_row + c] += p.one[r * p.one_row + p.one_at[t] + k * p.one_depth]
                * p.many[p.many_at[t] + k * p.many_depth + c];
    return;
  }
  for (long column = p.first, vectors; column < end; column += vectors * LANES) {
    const long left = end - column;
    vectors = VECTORS == 4 && left >= 4 * LANES ? 4 : left >= 2 * LANES ? 2 : 1;
    const long known = left < LANES ? LANES - left : 0;
    const long tallest = vectors == 4 ? 6 : vectors == 2 ? (VECTORS == 4 ? 12 : 6) : (VECTORS == 4 ? 16 : 8);
    const long tiles = (p.rows + tallest - 1) / tallest;
    for (long n = 0; n < tiles; n++) {
      const long row = p.rows * n / tiles, rows = p.rows * (n + 1) / tiles - row;
      (vectors == 4 ? four : vectors == 2 ? two : one)(&p, (int)rows, row, column - known, known);
    }
  }
}

/* Where a place that grows by c in each step comes to 0, and where it comes to what is left of its axis. */
static inline long larger(long a, long b) { return a > b ? a : b; }
static inline long begin(long behind, long c) { return behind <= 0 ? 0 : (behind + c - 1) / c; }
static inline long end(long left, long c) { return left <= 0 ? 0 : (left - 1) / c + 1; }
