// The kernels for whatever the compiler takes for granted: SSE2, NEON and others.
#include "cpu/standard_headers.h"

#define CHOLAX_TARGET baseline
#define CHOLAX_TARGET_LEVEL 0
#include "cpu/target_tables.h"
