// The BLAS and LAPACK routines borrowed from SciPy's Cython capsules (set once when the extension
// is loaded). Unset pointers mean "use the loops in dense.h", so native tests need no BLAS.
#pragma once

namespace cholax::blas {

template <class T>
struct Routines {
  using Gemm = void(char* ta, char* tb, int* m, int* n, int* k, T* alpha, T* a, int* lda, T* b,
                    int* ldb, T* beta, T* c, int* ldc);
  using Symm = void(char* side, char* uplo, int* m, int* n, T* alpha, T* a, int* lda, T* b,
                    int* ldb, T* beta, T* c, int* ldc);
  using Syrk = void(char* uplo, char* trans, int* n, int* k, T* alpha, T* a, int* lda, T* beta,
                    T* c, int* ldc);
  using Syr2k = void(char* uplo, char* trans, int* n, int* k, T* alpha, T* a, int* lda, T* b,
                     int* ldb, T* beta, T* c, int* ldc);
  using Trsm = void(char* side, char* uplo, char* ta, char* diag, int* m, int* n, T* alpha, T* a,
                    int* lda, T* b, int* ldb);
  using Potrf = void(char* uplo, int* n, T* a, int* lda, int* info);

  Gemm* gemm = nullptr;
  Symm* symm = nullptr;
  Syrk* syrk = nullptr;
  Syr2k* syr2k = nullptr;
  Trsm* trsm = nullptr;
  Potrf* potrf = nullptr;
};

template <class T>
Routines<T>& routines() {
  static Routines<T> table;
  return table;
}

}  // namespace cholax::blas
