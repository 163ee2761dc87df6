// The kernels for x86-64 with AVX2 with FMA.
#include "cpu/standard_headers.h"

#if defined(__x86_64__)

#define CHOLAX_TARGET avx2
#define CHOLAX_TARGET_LEVEL 256
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include "cpu/target_tables.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
