// A stand-in for BLAS and LAPACK: the six routines by their definitions, counting calls by variant.
// It checks its arguments as the reference BLAS does, and touches nothing the standard does not.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>

#include "../cpu/blas.h"
#include "check.h"

namespace cholax::testing {

template <class T>
struct NaiveBlas {
  static inline std::map<std::string, int> calls;  // "trsm RT" -> number of calls

  // Column-major element, or that of the transpose.
  static T& at(T* a, int ld, int i, int j) { return a[i + std::ptrdiff_t(j) * ld]; }
  static T op(T* a, int ld, char trans, int i, int j) {
    return trans == 'T' ? at(a, ld, j, i) : at(a, ld, i, j);
  }
  static void count(const char* routine, std::initializer_list<char> options) {
    ++calls[routine + (" " + std::string(options))];
  }
  static void check_matrix(int ld, int rows, int columns) {
    CHECK(rows >= 0 && columns >= 0 && ld >= std::max(1, rows));
  }

  // C := alpha op(A) op(B) + beta C
  static void gemm(char* ta, char* tb, int* m, int* n, int* k, T* alpha, T* a, int* lda, T* b,
                   int* ldb, T* beta, T* c, int* ldc) {
    count("gemm", {*ta, *tb});
    check_matrix(*lda, *ta == 'N' ? *m : *k, *k);
    check_matrix(*ldb, *tb == 'N' ? *k : *n, *n);
    check_matrix(*ldc, *m, *n);
    for (int j = 0; j < *n; ++j)
      for (int i = 0; i < *m; ++i) {
        T sum = 0;
        for (int p = 0; p < *k; ++p) sum += op(a, *lda, *ta, i, p) * op(b, *ldb, *tb, p, j);
        at(c, *ldc, i, j) = *alpha * sum + *beta * at(c, *ldc, i, j);
      }
  }

  // C := alpha A B + beta C, A symmetric with its lower triangle given
  static void symm(char* side, char* uplo, int* m, int* n, T* alpha, T* a, int* lda, T* b, int* ldb,
                   T* beta, T* c, int* ldc) {
    count("symm", {*side, *uplo});
    check_matrix(*lda, *m, *m);
    check_matrix(*ldb, *m, *n);
    check_matrix(*ldc, *m, *n);
    for (int j = 0; j < *n; ++j)
      for (int i = 0; i < *m; ++i) {
        T sum = 0;
        for (int p = 0; p < *m; ++p)
          sum += at(a, *lda, std::max(i, p), std::min(i, p)) * at(b, *ldb, p, j);
        at(c, *ldc, i, j) = *alpha * sum + *beta * at(c, *ldc, i, j);
      }
  }

  // lower C := alpha A Aᵀ + beta C
  static void syrk(char* uplo, char* trans, int* n, int* k, T* alpha, T* a, int* lda, T* beta, T* c,
                   int* ldc) {
    count("syrk", {*uplo, *trans});
    check_matrix(*lda, *n, *k);
    check_matrix(*ldc, *n, *n);
    for (int j = 0; j < *n; ++j)
      for (int i = j; i < *n; ++i) {
        T sum = 0;
        for (int p = 0; p < *k; ++p) sum += at(a, *lda, i, p) * at(a, *lda, j, p);
        at(c, *ldc, i, j) = *alpha * sum + *beta * at(c, *ldc, i, j);
      }
  }

  // lower C := alpha (A Bᵀ + B Aᵀ) + beta C
  static void syr2k(char* uplo, char* trans, int* n, int* k, T* alpha, T* a, int* lda, T* b,
                    int* ldb, T* beta, T* c, int* ldc) {
    count("syr2k", {*uplo, *trans});
    check_matrix(*lda, *n, *k);
    check_matrix(*ldb, *n, *k);
    check_matrix(*ldc, *n, *n);
    for (int j = 0; j < *n; ++j)
      for (int i = j; i < *n; ++i) {
        T sum = 0;
        for (int p = 0; p < *k; ++p)
          sum += at(a, *lda, i, p) * at(b, *ldb, j, p) + at(b, *ldb, i, p) * at(a, *lda, j, p);
        at(c, *ldc, i, j) = *alpha * sum + *beta * at(c, *ldc, i, j);
      }
  }

  // B := alpha op(A)⁻¹ B or alpha B op(A)⁻¹, A lower triangular
  static void trsm(char* side, char* uplo, char* ta, char* diag, int* m, int* n, T* alpha, T* a,
                   int* lda, T* b, int* ldb) {
    count("trsm", {*side, *ta});
    CHECK(*uplo == 'L' && *diag == 'N' && *alpha == T(1));
    const bool left = *side == 'L';
    const int order = left ? *m : *n, vectors = left ? *n : *m;
    check_matrix(*lda, order, order);
    check_matrix(*ldb, *m, *n);
    // Row vectors from the right are columns of the transposed system.
    const bool transposed = left == (*ta == 'T');
    const auto x = [&](int i, int v) -> T& { return left ? at(b, *ldb, i, v) : at(b, *ldb, v, i); };
    for (int v = 0; v < vectors; ++v)
      for (int step = 0; step < order; ++step) {
        const int i = transposed ? order - 1 - step : step;
        T sum = x(i, v);
        for (int q = 0; q < step; ++q) {
          const int p = transposed ? order - 1 - q : q;
          sum -= (transposed ? at(a, *lda, p, i) : at(a, *lda, i, p)) * x(p, v);
        }
        x(i, v) = sum / at(a, *lda, i, i);
      }
  }

  // Lower A := its Cholesky factor. Like some LAPACKs it does not notice NaN and infinite pivots.
  static void potrf(char* uplo, int* n, T* a, int* lda, int* info) {
    count("potrf", {*uplo});
    check_matrix(*lda, *n, *n);
    *info = 0;
    for (int j = 0; j < *n; ++j) {
      T pivot = at(a, *lda, j, j);
      for (int p = 0; p < j; ++p) pivot -= at(a, *lda, j, p) * at(a, *lda, j, p);
      at(a, *lda, j, j) = pivot;
      if (pivot <= 0) {
        *info = j + 1;
        return;
      }
      at(a, *lda, j, j) = std::sqrt(pivot);
      for (int i = j + 1; i < *n; ++i) {
        T sum = at(a, *lda, i, j);
        for (int p = 0; p < j; ++p) sum -= at(a, *lda, i, p) * at(a, *lda, j, p);
        at(a, *lda, i, j) = sum / at(a, *lda, j, j);
      }
    }
  }

  static void install() { blas::routines<T>() = {gemm, symm, syrk, syr2k, trsm, potrf}; }
  static void remove() { blas::routines<T>() = {}; }
};

}  // namespace cholax::testing
