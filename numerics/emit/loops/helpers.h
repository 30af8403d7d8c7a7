/* Loops over rows, generated from the equations that stand above them, as calls of XLA on a CPU. */
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "xla/ffi/api/c_api.h"

#ifndef REAL
#define REAL float
#endif

/* The numbers of an argument or a result, and the length of an axis of an argument. */
#define ARGUMENT(k) (((XLA_FFI_Buffer *)frame->args.args[k])->data)
#define RESULT(k) (((XLA_FFI_Buffer *)frame->rets.rets[k])->data)
#define LENGTH(k, axis) ((long)((XLA_FFI_Buffer *)frame->args.args[k])->dims[axis])

/* XLA asks first for which version of its interface a function was built. */
static int asked(XLA_FFI_CallFrame *frame) {
  if (!frame->extension_start || frame->extension_start->type != XLA_FFI_Extension_Metadata) return 0;
  XLA_FFI_Metadata *found = ((XLA_FFI_Metadata_Extension *)frame->extension_start)->metadata;
  found->api_version.major_version = XLA_FFI_API_MAJOR;
  found->api_version.minor_version = XLA_FFI_API_MINOR;
  return 1;
}

static inline REAL root(REAL x) { return sizeof(REAL) == 4 ? (REAL)sqrtf((float)x) : (REAL)sqrt((double)x); }

static inline REAL relu(REAL x) { return x > 0 || x != x ? x : 0; } /* a NaN stays one */

static inline REAL power(REAL x, int n) {
  REAL found = x;
  for (int k = 1; k < n; k++) found *= x;
  return found;
}

/* A quotient, rounded down. */
static inline long down(long a, long b) { return a / b - (a % b < 0); }

static inline long smaller(long a, long b) { return a < b ? a : b; }

/* Into how many parts rows are cut: as many as have room, whatever the number of threads, so that digits stay the same. */
static inline long parts_of(long length, long numbers) {
  long parts = 1;
  while (2 * parts <= length && parts < 16 && 2 * parts * numbers <= 1 << 20) parts *= 2;
  return parts;
}

/* Parts on XLA's threads and this one; whoever comes first takes the next, so that none of them is waited for in vain. */
typedef void Part(XLA_FFI_CallFrame *frame, long part, REAL *shared);
typedef struct {
  Part *run;
  XLA_FFI_CallFrame *frame;
  REAL *shared;
  long parts, next, done, held;
} Work;

static void work(void *given) {
  Work *all = given;
  for (long part; (part = __atomic_fetch_add(&all->next, 1, __ATOMIC_ACQ_REL)) < all->parts;) {
    all->run(all->frame, part, all->shared);
    __atomic_fetch_add(&all->done, 1, __ATOMIC_ACQ_REL);
  }
  if (__atomic_fetch_sub(&all->held, 1, __ATOMIC_ACQ_REL) == 1) free(all);
}

static void in_parts(XLA_FFI_CallFrame *frame, long parts, Part *run, REAL *shared) {
  int64_t threads = 1;
  XLA_FFI_ThreadPool_NumThreads_Args count = {sizeof count, 0, frame->ctx, &threads};
  XLA_FFI_Error *error = frame->api->XLA_FFI_ThreadPool_NumThreads(&count);
  const long others = error ? 0 : smaller(threads, parts) - 1;
  Work *all = malloc(sizeof *all);
  *all = (Work){run, frame, shared, parts, 0, 0, others + 2};
  for (long n = 0; n < others; n++) {
    XLA_FFI_ThreadPool_Schedule_Args task = {sizeof task, 0, frame->ctx, work, all};
    if (!error) error = frame->api->XLA_FFI_ThreadPool_Schedule(&task);
    if (error) __atomic_fetch_sub(&all->held, 1, __ATOMIC_ACQ_REL);
  }
  if (error) {
    XLA_FFI_Error_Destroy_Args gone = {sizeof gone, 0, error};
    frame->api->XLA_FFI_Error_Destroy(&gone);
  }
  work(all);
  while (__atomic_load_n(&all->done, __ATOMIC_ACQUIRE) < parts) sched_yield();
  if (__atomic_fetch_sub(&all->held, 1, __ATOMIC_ACQ_REL) == 1) free(all);
}
