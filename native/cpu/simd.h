// One vector register of T and the few operations the kernels need, for the target this file is
// compiled for (targets.h). `Mask` names the first n lanes of a register.
#pragma once
#include <cstddef>

#include "cpu/target.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cholax::CHOLAX_TARGET {

using Stride = std::ptrdiff_t;

template <class T>
struct Simd;

#if CHOLAX_TARGET_LEVEL == 512

template <>
struct Simd<double> {
  using V = __m512d;
  using Mask = __mmask8;
  static constexpr int width = 8;
  static Mask first(int n) { return static_cast<Mask>((1u << n) - 1u); }
  static V zero() { return _mm512_setzero_pd(); }
  static V broadcast(double x) { return _mm512_set1_pd(x); }
  static V load(const double* p) { return _mm512_loadu_pd(p); }
  static V load(const double* p, Mask m) { return _mm512_maskz_loadu_pd(m, p); }
  static void store(double* p, V v) { _mm512_storeu_pd(p, v); }
  static void store(double* p, V v, Mask m) { _mm512_mask_storeu_pd(p, m, v); }
  static V multiply_add(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
  static V subtract_multiply(V a, V b, V c) { return _mm512_fnmadd_pd(a, b, c); }  // c − a b
  static double sum(V v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
  }
};

template <>
struct Simd<float> {
  using V = __m512;
  using Mask = __mmask16;
  static constexpr int width = 16;
  static Mask first(int n) { return static_cast<Mask>((1u << n) - 1u); }
  static V zero() { return _mm512_setzero_ps(); }
  static V broadcast(float x) { return _mm512_set1_ps(x); }
  static V load(const float* p) { return _mm512_loadu_ps(p); }
  static V load(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
  static void store(float* p, V v, Mask m) { _mm512_mask_storeu_ps(p, m, v); }
  static V multiply_add(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V subtract_multiply(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
  static float sum(V v) {
    float half[8];
    for (int i = 0; i < 8; ++i) half[i] = v[i] + v[i + 8];
    return ((half[0] + half[4]) + (half[2] + half[6])) +
           ((half[1] + half[5]) + (half[3] + half[7]));
  }
};

#elif CHOLAX_TARGET_LEVEL == 256

template <>
struct Simd<double> {
  using V = __m256d;
  using Mask = __m256i;
  static constexpr int width = 4;
  static Mask first(int n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
  }
  static V zero() { return _mm256_setzero_pd(); }
  static V broadcast(double x) { return _mm256_set1_pd(x); }
  static V load(const double* p) { return _mm256_loadu_pd(p); }
  static V load(const double* p, Mask m) { return _mm256_maskload_pd(p, m); }
  static void store(double* p, V v) { _mm256_storeu_pd(p, v); }
  static void store(double* p, V v, Mask m) { _mm256_maskstore_pd(p, m, v); }
  static V multiply_add(V a, V b, V c) { return _mm256_fmadd_pd(a, b, c); }
  static V subtract_multiply(V a, V b, V c) { return _mm256_fnmadd_pd(a, b, c); }
  static double sum(V v) { return (v[0] + v[2]) + (v[1] + v[3]); }
};

template <>
struct Simd<float> {
  using V = __m256;
  using Mask = __m256i;
  static constexpr int width = 8;
  static Mask first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static V zero() { return _mm256_setzero_ps(); }
  static V broadcast(float x) { return _mm256_set1_ps(x); }
  static V load(const float* p) { return _mm256_loadu_ps(p); }
  static V load(const float* p, Mask m) { return _mm256_maskload_ps(p, m); }
  static void store(float* p, V v) { _mm256_storeu_ps(p, v); }
  static void store(float* p, V v, Mask m) { _mm256_maskstore_ps(p, m, v); }
  static V multiply_add(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V subtract_multiply(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
  static float sum(V v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
  }
};

#else

// 16-byte vectors in the compiler's own notation: SSE2, NEON and everything else.
template <class T>
struct Simd {
  typedef T V __attribute__((vector_size(16)));
  using Mask = int;
  static constexpr int width = 16 / sizeof(T);
  static Mask first(int n) { return n; }
  static V zero() { return V{}; }
  static V broadcast(T x) { return x - V{}; }
  static V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static V load(const T* p, Mask m) {
    V v{};
    for (int i = 0; i < m; ++i) v[i] = p[i];
    return v;
  }
  static void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }
  static void store(T* p, V v, Mask m) {
    for (int i = 0; i < m; ++i) p[i] = v[i];
  }
  static V multiply_add(V a, V b, V c) { return a * b + c; }
  static V subtract_multiply(V a, V b, V c) { return c - a * b; }
  static T sum(V v) {
    T total = 0;
    for (int i = 0; i < width; ++i) total += v[i];
    return total;
  }
};

#endif

// Registers there are to hold a tile of C: kTileVectors × kTileColumns accumulators.
inline constexpr int kTileVectors = 3;
inline constexpr int kTileColumns = CHOLAX_TARGET_LEVEL == 512 ? 8 : 4;
template <class T>
inline constexpr int kTileRows = kTileVectors * Simd<T>::width;

}  // namespace cholax::CHOLAX_TARGET
