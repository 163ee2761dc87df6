// The kernels as FFI calls see them: signature, structure, and the loop over batch members.
// kernels.def lists them; handlers.cc makes one FFI handler from each.
#pragma once
#include <memory>

#include "core/structure.h"
#include "cpu/cholesky.h"
#include "cpu/cholesky_cotangent.h"
#include "cpu/cholesky_tangent.h"
#include "cpu/log_determinant.h"
#include "cpu/selected_inverse.h"
#include "cpu/symmetric_product.h"
#include "cpu/symmetric_product_transpose.h"
#include "cpu/triangular_solve.h"
#include "ffi/call.h"

namespace cholax::ffi {

using PlanPointer = std::shared_ptr<const Plan>;

// values -> (L, status). With the flag `throw` a failure is an error instead of a status.
struct CholeskyKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1}, 1, {1, 0}, 2};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    for (std::int64_t b = 0; b < call.batch; ++b) {
      const std::int32_t status =
          cholesky(*plan, scratch, call.operand<T>(0, b), call.result<T>(0, b));
      *call.result<std::int32_t>(1, b) = status;
      if (call.flag && status != 0)
        return xf::Error(
            xf::ErrorCode::kFailedPrecondition,
            "cholesky: the matrix must be positive definite, but the pivot of row " +
                std::to_string(status - 1) + " is not a finite positive number" +
                (call.batch > 1 ? " in batch member " + std::to_string(b) : std::string()) + ".");
    }
    return xf::Error::Success();
  }
};

// Kernels of the form (L, X) -> Y on the filled pattern.
template <auto Double, auto Single>
struct FactorBinaryKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 1}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    for (std::int64_t b = 0; b < call.batch; ++b) {
      const T *l = call.operand<T>(0, b), *x = call.operand<T>(1, b);
      if constexpr (std::is_same_v<T, double>)
        Double(*plan, scratch, l, x, call.result<T>(0, b));
      else
        Single(*plan, scratch, l, x, call.result<T>(0, b));
    }
    return xf::Error::Success();
  }
};

using CholeskyTangentKernel =
    FactorBinaryKernel<&cholesky_tangent<double>, &cholesky_tangent<float>>;
using CholeskyCotangentKernel =
    FactorBinaryKernel<&cholesky_cotangent<double>, &cholesky_cotangent<float>>;
using SymmetricProductKernel =
    FactorBinaryKernel<&symmetric_product<double>, &symmetric_product<float>>;
using SymmetricProductTransposeKernel =
    FactorBinaryKernel<&symmetric_product_transpose<double>, &symmetric_product_transpose<float>>;

// L -> Y
struct SelectedInverseKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1}, 1, {1}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    for (std::int64_t b = 0; b < call.batch; ++b)
      selected_inverse(*plan, scratch, call.operand<T>(0, b), call.result<T>(0, b));
    return xf::Error::Success();
  }
};

// L -> log|A|
struct LogDeterminantKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1}, 1, {0}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    for (std::int64_t b = 0; b < call.batch; ++b)
      *call.result<T>(0, b) = log_determinant(*plan, call.operand<T>(0, b));
    return xf::Error::Success();
  }
};

// A batch of right-hand sides with one shared factor is one block of batch·k right-hand sides: the
// factor is streamed once. `solve(columns, block)` gets the block as n rows of `columns` entries.
template <class T, class ReadRow, class Solve>
void solve_block(const Plan& plan, const Call& call, ReadRow&& row_of, Solve&& solve) {
  const std::int64_t k = call.in[1].last;
  const bool together = call.in[0].step == 0;
  const std::int64_t width = together ? call.batch : 1;
  Buffer<T> block(static_cast<std::size_t>(plan.n) * k * width);
  for (std::int64_t start = 0; start < call.batch; start += width) {
    for (Index i = 0; i < plan.n; ++i)
      for (std::int64_t b = 0; b < width; ++b)
        std::copy_n(call.operand<T>(1, start + b) + row_of(i) * k, k,
                    block.data() + (i * width + b) * k);
    solve(static_cast<int>(k * width), call.operand<T>(0, start), block.data());
    for (Index i = 0; i < plan.n; ++i)
      for (std::int64_t b = 0; b < width; ++b)
        std::copy_n(block.data() + (i * width + b) * k, k,
                    call.result<T>(0, start + b) + row_of(i) * k);
  }
}

// (L, b) -> L⁻¹ b, or L⁻ᵀ b with the flag; b in permuted labels.
struct TriangularSolveKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    solve_block<T>(
        *plan, call, [](Index i) { return std::int64_t(i); },
        [&](int k, const T* l, T* x) {
          call.flag ? solve_lower_transposed(*plan, scratch, l, k, x)
                    : solve_lower(*plan, scratch, l, k, x);
        });
    return xf::Error::Success();
  }
};

// (L, b) -> A⁻¹ b in the original labels.
struct SolveKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    solve_block<T>(
        *plan, call, [&](Index i) { return std::int64_t(plan->perm[i]); },
        [&](int k, const T* l, T* x) {
          solve_lower(*plan, scratch, l, k, x);
          solve_lower_transposed(*plan, scratch, l, k, x);
        });
    return xf::Error::Success();
  }
};

// (L, x) -> L x, or Lᵀ x with the flag; x in permuted labels.
struct FactorMatvecKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    const int k = static_cast<int>(call.in[1].last);
    for (std::int64_t b = 0; b < call.batch; ++b) {
      const T *l = call.operand<T>(0, b), *x = call.operand<T>(1, b);
      call.flag ? multiply_lower_transposed(*plan, scratch, l, k, x, call.result<T>(0, b))
                : multiply_lower(*plan, scratch, l, k, x, call.result<T>(0, b));
    }
    return xf::Error::Success();
  }
};

// (u, v) -> lower(u vᵀ) on the filled pattern.
struct FactorOuterKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{2, 2}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    Scratch<T> scratch(*plan);
    const int k = static_cast<int>(call.in[0].last);
    for (std::int64_t b = 0; b < call.batch; ++b)
      outer_on_factor(*plan, scratch, k, call.operand<T>(0, b), call.operand<T>(1, b),
                      call.result<T>(0, b));
    return xf::Error::Success();
  }
};

// x -> P x, or Pᵀ x with the flag (rows of an n x k array).
struct PermuteKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{2}, 1, {2}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    const std::int64_t k = call.in[0].last;
    const std::vector<Index>& source = call.flag ? plan->iperm : plan->perm;
    for (std::int64_t b = 0; b < call.batch; ++b)
      for (Index i = 0; i < plan->n; ++i)
        std::copy_n(call.operand<T>(0, b) + source[i] * k, k, call.result<T>(0, b) + i * k);
    return xf::Error::Success();
  }
};

struct GatherKernel {
  using Structure = EntryMap;
  static constexpr Signature signature{{1}, 1, {1}, 1};
  template <class T>
  static xf::Error run(const EntryMap& map, const Call& call) {
    for (std::int64_t b = 0; b < call.batch; ++b)
      gather(map, call.operand<T>(0, b), call.result<T>(0, b));
    return xf::Error::Success();
  }
};

struct ScatterKernel {
  using Structure = EntryMap;
  static constexpr Signature signature{{1}, 1, {1}, 1};
  template <class T>
  static xf::Error run(const EntryMap& map, const Call& call) {
    for (std::int64_t b = 0; b < call.batch; ++b)
      scatter(map, call.operand<T>(0, b), call.result<T>(0, b));
    return xf::Error::Success();
  }
};

struct ContractKernel {
  using Structure = Triples;
  static constexpr Signature signature{{1, 1}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const Triples& triples, const Call& call) {
    for (std::int64_t b = 0; b < call.batch; ++b)
      contract(triples, call.roles, call.operand<T>(0, b), call.operand<T>(1, b),
               call.result<T>(0, b));
    return xf::Error::Success();
  }
};

struct MatvecKernel {
  using Structure = Csc;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const Csc& a, const Call& call) {
    for (std::int64_t b = 0; b < call.batch; ++b)
      matvec(a, call.flag, call.operand<T>(0, b), static_cast<int>(call.in[1].last),
             call.operand<T>(1, b), call.result<T>(0, b));
    return xf::Error::Success();
  }
};

struct OuterOnPatternKernel {
  using Structure = Csc;
  static constexpr Signature signature{{2, 2}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const Csc& a, const Call& call) {
    for (std::int64_t b = 0; b < call.batch; ++b)
      outer_on_pattern(a, static_cast<int>(call.in[0].last), call.operand<T>(0, b),
                       call.operand<T>(1, b), call.result<T>(0, b));
    return xf::Error::Success();
  }
};

}  // namespace cholax::ffi
