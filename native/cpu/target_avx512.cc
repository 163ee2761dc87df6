// The kernels for x86-64 with AVX-512.
#include "cpu/standard_headers.h"

#if defined(__x86_64__)

#define CHOLAX_TARGET avx512
#define CHOLAX_TARGET_LEVEL 512
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#endif

#include "cpu/target_tables.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
