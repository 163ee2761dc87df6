// Eigen's SimplicialLLT behind a C interface.
#include <Eigen/SparseCholesky>

namespace {
using Matrix = Eigen::SparseMatrix<double, Eigen::ColMajor, int>;
using Solver = Eigen::SimplicialLLT<Matrix, Eigen::Lower, Eigen::AMDOrdering<int>>;
using View = Eigen::Map<const Matrix>;
}  // namespace

extern "C" {
Solver* eigen_new() { return new Solver; }
void eigen_free(Solver* solver) { delete solver; }

// Lower triangle by columns.
void eigen_analyze(Solver* s, int n, int nnz, const int* indptr, const int* indices,
                   const double* values) {
  s->analyzePattern(View(n, n, nnz, indptr, indices, values));
}

int eigen_factor(Solver* s, int n, int nnz, const int* indptr, const int* indices,
                 const double* values) {
  s->factorize(View(n, n, nnz, indptr, indices, values));
  return s->info() != Eigen::Success;
}

long eigen_entries(Solver* s) { return s->matrixL().nestedExpression().nonZeros(); }

double eigen_log_det(Solver* s) {
  return 2 * s->matrixL().nestedExpression().diagonal().array().log().sum();
}

void eigen_solve(Solver* s, int n, int columns, const double* b, double* x) {
  Eigen::Map<const Eigen::MatrixXd> right(b, n, columns);
  Eigen::Map<Eigen::MatrixXd>(x, n, columns) = s->solve(right);
}

const char* eigen_version() {
#define TEXT(x) #x
#define VALUE(x) TEXT(x)
  return VALUE(EIGEN_WORLD_VERSION) "." VALUE(EIGEN_MAJOR_VERSION) "." VALUE(EIGEN_MINOR_VERSION);
}
}
