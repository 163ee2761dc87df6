// Dense column-major blocks. Small blocks run in the loops below (a BLAS call costs more than it
// computes there), larger ones in BLAS-3 where it is available. `ld*` are leading dimensions.
#pragma once
#include <algorithm>
#include <cmath>

#include "cpu/blas.h"

namespace cholax::dense {

// Work (multiply-adds) above which a call goes to BLAS: about where the call overhead is repaid.
inline constexpr double kBlasWork = 16.0 * 16.0 * 16.0;

inline bool use_blas(const void* routine, double work) {
  return routine != nullptr && work > kBlasWork;
}

// y[0..n) += a * x[0..n)
template <class T>
inline void axpy(int n, T a, const T* __restrict x, T* __restrict y) {
  for (int i = 0; i < n; ++i) y[i] += a * x[i];
}

// x . y over n entries
template <class T>
inline T dot(int n, const T* __restrict x, const T* __restrict y) {
  T sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

// C (m x n) += alpha * A (m x k) * B, B being k x n.
template <class T>
void gemm_nn(int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T* c,
             int ldc) {
  if (m == 0 || n == 0 || k == 0) return;
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.gemm), double(m) * n * k)) {
    char no = 'N';
    T one = 1;
    blas.gemm(&no, &no, &m, &n, &k, &alpha, const_cast<T*>(a), &lda, const_cast<T*>(b), &ldb, &one,
              c, &ldc);
    return;
  }
  for (int j = 0; j < n; ++j)
    for (int p = 0; p < k; ++p)
      axpy(m, alpha * b[p + std::ptrdiff_t(j) * ldb], a + std::ptrdiff_t(p) * lda,
           c + std::ptrdiff_t(j) * ldc);
}

// C (m x n) += alpha * A (m x k) * Bᵀ, B being n x k.
template <class T>
void gemm_nt(int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T* c,
             int ldc) {
  if (m == 0 || n == 0 || k == 0) return;
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.gemm), double(m) * n * k)) {
    char no = 'N', yes = 'T';
    T one = 1;
    blas.gemm(&no, &yes, &m, &n, &k, &alpha, const_cast<T*>(a), &lda, const_cast<T*>(b), &ldb, &one,
              c, &ldc);
    return;
  }
  for (int j = 0; j < n; ++j)
    for (int p = 0; p < k; ++p)
      axpy(m, alpha * b[j + std::ptrdiff_t(p) * ldb], a + std::ptrdiff_t(p) * lda,
           c + std::ptrdiff_t(j) * ldc);
}

// C (m x n) += alpha * Aᵀ * B, A being k x m and B k x n.
template <class T>
void gemm_tn(int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T* c,
             int ldc) {
  if (m == 0 || n == 0 || k == 0) return;
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.gemm), double(m) * n * k)) {
    char no = 'N', yes = 'T';
    T one = 1;
    blas.gemm(&yes, &no, &m, &n, &k, &alpha, const_cast<T*>(a), &lda, const_cast<T*>(b), &ldb, &one,
              c, &ldc);
    return;
  }
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < m; ++i)
      c[i + std::ptrdiff_t(j) * ldc] +=
          alpha * dot(k, a + std::ptrdiff_t(i) * lda, b + std::ptrdiff_t(j) * ldb);
}

// C (m x n) += alpha * A * B, A symmetric m x m of which the lower triangle is read.
template <class T>
void symm_left(int m, int n, T alpha, const T* a, int lda, const T* b, int ldb, T* c, int ldc) {
  if (m == 0 || n == 0) return;
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.symm), double(m) * m * n)) {
    char left = 'L', lower = 'L';
    T one = 1;
    blas.symm(&left, &lower, &m, &n, &alpha, const_cast<T*>(a), &lda, const_cast<T*>(b), &ldb, &one,
              c, &ldc);
    return;
  }
  for (int j = 0; j < n; ++j) {
    const T* bj = b + std::ptrdiff_t(j) * ldb;
    T* cj = c + std::ptrdiff_t(j) * ldc;
    for (int p = 0; p < m; ++p) {
      const T* ap = a + p + std::ptrdiff_t(p) * lda;
      cj[p] += alpha * dot(m - p, ap, bj + p);
      axpy(m - p - 1, alpha * bj[p], ap + 1, cj + p + 1);
    }
  }
}

// Lower triangle of C (n x n) += alpha * A Aᵀ, A being n x k.
template <class T>
void syrk_lower(int n, int k, T alpha, const T* a, int lda, T* c, int ldc) {
  if (n == 0 || k == 0) return;
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.syrk), 0.5 * double(n) * n * k)) {
    char lower = 'L', no = 'N';
    T one = 1;
    blas.syrk(&lower, &no, &n, &k, &alpha, const_cast<T*>(a), &lda, &one, c, &ldc);
    return;
  }
  for (int j = 0; j < n; ++j)
    for (int p = 0; p < k; ++p) {
      const T* ap = a + j + std::ptrdiff_t(p) * lda;
      axpy(n - j, alpha * ap[0], ap, c + j + std::ptrdiff_t(j) * ldc);
    }
}

// Lower triangle of C (n x n) += alpha * (A Bᵀ + B Aᵀ), A and B being n x k.
template <class T>
void syr2k_lower(int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T* c, int ldc) {
  if (n == 0 || k == 0) return;
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.syr2k), double(n) * n * k)) {
    char lower = 'L', no = 'N';
    T one = 1;
    blas.syr2k(&lower, &no, &n, &k, &alpha, const_cast<T*>(a), &lda, const_cast<T*>(b), &ldb, &one,
               c, &ldc);
    return;
  }
  for (int j = 0; j < n; ++j)
    for (int p = 0; p < k; ++p) {
      const T* ap = a + j + std::ptrdiff_t(p) * lda;
      const T* bp = b + j + std::ptrdiff_t(p) * ldb;
      T* cj = c + j + std::ptrdiff_t(j) * ldc;
      axpy(n - j, alpha * bp[0], ap, cj);
      axpy(n - j, alpha * ap[0], bp, cj);
    }
}

template <class T>
void trsm(char side, char trans, int m, int n, const T* l, int ldl, T* b, int ldb) {
  char lower = 'L', non_unit = 'N';
  T one = 1;
  blas::routines<T>().trsm(&side, &lower, &trans, &non_unit, &m, &n, &one, const_cast<T*>(l), &ldl,
                           b, &ldb);
}

// B (m x n) := B L⁻ᵀ
template <class T>
void solve_right_transposed(int m, int n, const T* l, int ldl, T* b, int ldb) {
  if (m == 0 || n == 0) return;
  if (use_blas(reinterpret_cast<const void*>(blas::routines<T>().trsm), 0.5 * double(m) * n * n))
    return trsm('R', 'T', m, n, l, ldl, b, ldb);
  for (int j = 0; j < n; ++j) {
    T* bj = b + std::ptrdiff_t(j) * ldb;
    for (int p = 0; p < j; ++p)
      axpy(m, -l[j + std::ptrdiff_t(p) * ldl], b + std::ptrdiff_t(p) * ldb, bj);
    const T inverse = T(1) / l[j + std::ptrdiff_t(j) * ldl];
    for (int i = 0; i < m; ++i) bj[i] *= inverse;
  }
}

// B (m x n) := B L⁻¹
template <class T>
void solve_right(int m, int n, const T* l, int ldl, T* b, int ldb) {
  if (m == 0 || n == 0) return;
  if (use_blas(reinterpret_cast<const void*>(blas::routines<T>().trsm), 0.5 * double(m) * n * n))
    return trsm('R', 'N', m, n, l, ldl, b, ldb);
  for (int j = n - 1; j >= 0; --j) {
    T* bj = b + std::ptrdiff_t(j) * ldb;
    const T* lj = l + std::ptrdiff_t(j) * ldl;
    for (int p = j + 1; p < n; ++p) axpy(m, -lj[p], b + std::ptrdiff_t(p) * ldb, bj);
    const T inverse = T(1) / lj[j];
    for (int i = 0; i < m; ++i) bj[i] *= inverse;
  }
}

// B (n x k) := L⁻¹ B
template <class T>
void solve_left(int n, int k, const T* l, int ldl, T* b, int ldb) {
  if (n == 0 || k == 0) return;
  if (use_blas(reinterpret_cast<const void*>(blas::routines<T>().trsm), 0.5 * double(n) * n * k))
    return trsm('L', 'N', n, k, l, ldl, b, ldb);
  for (int c = 0; c < k; ++c) {
    T* x = b + std::ptrdiff_t(c) * ldb;
    for (int j = 0; j < n; ++j) {
      const T* lj = l + std::ptrdiff_t(j) * ldl;
      x[j] /= lj[j];
      axpy(n - j - 1, -x[j], lj + j + 1, x + j + 1);
    }
  }
}

// B (n x k) := L⁻ᵀ B
template <class T>
void solve_left_transposed(int n, int k, const T* l, int ldl, T* b, int ldb) {
  if (n == 0 || k == 0) return;
  if (use_blas(reinterpret_cast<const void*>(blas::routines<T>().trsm), 0.5 * double(n) * n * k))
    return trsm('L', 'T', n, k, l, ldl, b, ldb);
  for (int c = 0; c < k; ++c) {
    T* x = b + std::ptrdiff_t(c) * ldb;
    for (int j = n - 1; j >= 0; --j) {
      const T* lj = l + std::ptrdiff_t(j) * ldl;
      x[j] = (x[j] - dot(n - j - 1, lj + j + 1, x + j + 1)) / lj[j];
    }
  }
}

// Lower A := its Cholesky factor. Returns -1, or the first column whose pivot is not finite and
// positive.
template <class T>
int cholesky_lower(int n, T* a, int lda) {
  auto& blas = blas::routines<T>();
  if (use_blas(reinterpret_cast<const void*>(blas.potrf), double(n) * n * n / 6)) {
    char lower = 'L';
    int info = 0;
    blas.potrf(&lower, &n, a, &lda, &info);
    // Not every LAPACK notices a NaN or infinite pivot, and one may come before the pivot it
    // stopped at: look at the diagonal it left behind.
    const int end = info > 0 ? info - 1 : n;
    for (int j = 0; j < end; ++j) {
      const T d = a[j + std::ptrdiff_t(j) * lda];
      if (!(d > 0) || !std::isfinite(d)) return j;
    }
    return info > 0 ? end : -1;
  }
  for (int j = 0; j < n; ++j) {
    T* aj = a + std::ptrdiff_t(j) * lda;
    for (int p = 0; p < j; ++p) {
      const T* ap = a + std::ptrdiff_t(p) * lda;
      axpy(n - j, -ap[j], ap + j, aj + j);
    }
    if (!(aj[j] > 0) || !std::isfinite(aj[j])) return j;
    aj[j] = std::sqrt(aj[j]);
    const T inverse = T(1) / aj[j];
    for (int i = j + 1; i < n; ++i) aj[i] *= inverse;
  }
  return -1;
}

// Strict upper triangle of A (n x n) := 0
template <class T>
void clear_upper(int n, T* a, int lda) {
  for (int j = 1; j < n; ++j) std::fill_n(a + std::ptrdiff_t(j) * lda, j, T(0));
}

// Strict upper triangle of A (n x n) := its lower triangle mirrored
template <class T>
void mirror_lower(int n, T* a, int lda) {
  for (int j = 0; j < n; ++j)
    for (int i = j + 1; i < n; ++i) a[j + std::ptrdiff_t(i) * lda] = a[i + std::ptrdiff_t(j) * lda];
}

// Φ: A (n x n) := its lower triangle with halved diagonal, upper triangle zero
template <class T>
void half_lower(int n, T* a, int lda) {
  clear_upper(n, a, lda);
  for (int j = 0; j < n; ++j) a[j + std::ptrdiff_t(j) * lda] *= T(0.5);
}

}  // namespace cholax::dense
