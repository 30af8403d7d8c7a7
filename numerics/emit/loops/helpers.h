/* Loops over rows, generated from the equations that stand above them, as calls of XLA on a CPU. */
#include <math.h>
#include <stdlib.h>
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
  XLA_FFI_Extension_Base *first = frame->extension_start;
  if (!first || first->type != XLA_FFI_Extension_Metadata) return 0;
  XLA_FFI_Metadata *found = ((XLA_FFI_Metadata_Extension *)first)->metadata;
  found->api_version.major_version = XLA_FFI_API_MAJOR;
  found->api_version.minor_version = XLA_FFI_API_MINOR;
  return 1;
}

static inline REAL root(REAL x) { return sizeof(REAL) == 4 ? (REAL)sqrtf((float)x) : (REAL)sqrt((double)x); }

static inline REAL power(REAL x, int n) {
  REAL found = x;
  for (int k = 1; k < n; k++) found *= x;
  return found;
}

/* A quotient, rounded down. */
static inline long down(long a, long b) { return a / b - (a % b < 0); }
