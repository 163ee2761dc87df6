// The body of target_*.cc: all kernels of one instruction set, as tables. Included once per target,
// after the standard library, so that only code of this project is compiled for the target.
#include "cpu/cholesky.h"
#include "cpu/cholesky_cotangent.h"
#include "cpu/cholesky_tangent.h"
#include "cpu/selected_inverse.h"
#include "cpu/symmetric_product.h"
#include "cpu/symmetric_product_transpose.h"
#include "cpu/triangular_solve.h"

#define CHOLAX_STRING_(x) #x
#define CHOLAX_STRING(x) CHOLAX_STRING_(x)

namespace cholax::CHOLAX_TARGET {

template <class T>
const PlanKernels<T>& table() {
  static constexpr PlanKernels<T> kernels{
      CHOLAX_STRING(CHOLAX_TARGET),
#define CHOLAX_PLAN_KERNEL(name, ...) &name<T>,
#include "cpu/kernel_list.def"
#undef CHOLAX_PLAN_KERNEL
  };
  return kernels;
}

template const PlanKernels<double>& table<double>();
template const PlanKernels<float>& table<float>();

}  // namespace cholax::CHOLAX_TARGET
