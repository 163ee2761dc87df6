// The kernels as calls see them: signature, structure, and what is done for each batch member.
// kernels.def lists them; table.cc makes a row of a table from each.
#pragma once
#include <memory>
#include <string>
#include <type_traits>

#include "calls/batch.h"
#include "calls/call.h"
#include "core/structure.h"
#include "cpu/kernels.h"
#include "cpu/log_determinant.h"

namespace cholax::calls {

using PlanPointer = std::shared_ptr<const Plan>;

inline std::string bad_pivot_message(std::int32_t status, std::int64_t batch, std::int64_t member) {
  return "cholesky: the matrix must be positive definite, but the pivot of row " +
         std::to_string(status - 1) + " is not a finite positive number" +
         (batch > 1 ? " in batch member " + std::to_string(member) : std::string()) + ".";
}

// values -> (L, status). With the flag `throw` a failure is an error instead of a status.
struct CholeskyKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1}, {1, 0}, {"throw"}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, plan->cost, [&](const Work<T>& work, std::int64_t b) {
      *call.result<std::int32_t>(1, b) =
          cholax::kernels<T>().cholesky(*plan, work, call.operand<T>(0, b), call.result<T>(0, b));
    });
    const bool must_hold = call.flag("throw");
    for (std::int64_t b = 0; must_hold && b < call.batch; ++b)
      if (const std::int32_t status = *call.result<std::int32_t>(1, b); status != 0)
        return {Status::kFailed, bad_pivot_message(status, call.batch, b)};
    return Status{};
  }
};

// A member of a PlanKernels table, for both value types.
template <class T>
using BinaryKernel = void (*PlanKernels<T>::*)(const Plan&, const Work<T>&, const T*, const T*, T*);

// Kernels of the form (L, X) -> Y on the filled pattern.
template <BinaryKernel<double> kDouble, BinaryKernel<float> kSingle>
struct FactorBinaryKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1, 1}, {1}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, plan->cost, [&](const Work<T>& work, std::int64_t b) {
      const T *l = call.operand<T>(0, b), *x = call.operand<T>(1, b);
      if constexpr (std::is_same_v<T, double>)
        (cholax::kernels<T>().*kDouble)(*plan, work, l, x, call.result<T>(0, b));
      else
        (cholax::kernels<T>().*kSingle)(*plan, work, l, x, call.result<T>(0, b));
    });
    return Status{};
  }
};

using CholeskyTangentKernel = FactorBinaryKernel<&PlanKernels<double>::cholesky_tangent,
                                                 &PlanKernels<float>::cholesky_tangent>;
using CholeskyCotangentKernel = FactorBinaryKernel<&PlanKernels<double>::cholesky_cotangent,
                                                   &PlanKernels<float>::cholesky_cotangent>;
using SymmetricProductKernel = FactorBinaryKernel<&PlanKernels<double>::symmetric_product,
                                                  &PlanKernels<float>::symmetric_product>;
using SymmetricProductTransposeKernel =
    FactorBinaryKernel<&PlanKernels<double>::symmetric_product_transpose,
                       &PlanKernels<float>::symmetric_product_transpose>;

// L -> Y, in L's memory where the caller gave that (`in_place` says it may). The second operand is
// not read: it makes XLA run this call after
// the one that computes it.
struct SelectedInverseKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1, 0}, {1}, {"in_place"}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, 2 * plan->cost, [&](const Work<T>& work, std::int64_t b) {
      cholax::kernels<T>().selected_inverse(*plan, work, call.operand<T>(0, b),
                                            call.result<T>(0, b));
    });
    return Status{};
  }
};

// L -> log|A|
struct LogDeterminantKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1}, {0}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, plan->n, [&](const Work<T>&, std::int64_t b) {
      *call.result<T>(0, b) = log_determinant(*plan, call.operand<T>(0, b));
    });
    return Status{};
  }
};

// A batch of right-hand sides with one shared factor is one block of batch·k right-hand sides: the
// factor is streamed once. `solve(work, columns, l, block)` gets the block as n rows of `columns`
// entries, row i being row_of(i) of the operands.
template <class T, class RowOf, class Solve>
void solve_block(const Plan& plan, const Call& call, RowOf&& row_of, Solve&& solve) {
  const std::int64_t k = call.in[1].last;
  const bool together = call.in[0].step == 0;
  const std::int64_t width = together ? call.batch : 1;
  Call calls = call;
  calls.batch = together ? 1 : call.batch;
  for_each_member<T>(calls, 2.0 * double(plan.size) * double(k * width),
                     [&](const Work<T>& work, std::int64_t start) {
                       Buffer<T> block(static_cast<std::size_t>(plan.n) * k * width);
                       for (Index i = 0; i < plan.n; ++i)
                         for (std::int64_t b = 0; b < width; ++b)
                           std::copy_n(call.operand<T>(1, start + b) + row_of(i) * k, k,
                                       block.data() + (i * width + b) * k);
                       solve(work, static_cast<int>(k * width), call.operand<T>(0, start),
                             block.data());
                       for (Index i = 0; i < plan.n; ++i)
                         for (std::int64_t b = 0; b < width; ++b)
                           std::copy_n(block.data() + (i * width + b) * k, k,
                                       call.result<T>(0, start + b) + row_of(i) * k);
                     });
}

// (L, b) -> L⁻¹ b, or L⁻ᵀ b with `transpose`; b in permuted labels.
struct TriangularSolveKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1, 2}, {2}, {"transpose"}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    const auto sweep = call.flag("transpose") ? cholax::kernels<T>().solve_lower_transposed
                                              : cholax::kernels<T>().solve_lower;
    solve_block<T>(
        *plan, call, [](Index i) { return std::int64_t(i); },
        [&](const Work<T>& work, int k, const T* l, T* x) { sweep(*plan, work, l, k, x); });
    return Status{};
  }
};

// (L, b) -> A⁻¹ b in the original labels.
struct SolveKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1, 2}, {2}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    solve_block<T>(
        *plan, call, [&](Index i) { return std::int64_t(plan->perm[i]); },
        [&](const Work<T>& work, int k, const T* l, T* x) {
          cholax::kernels<T>().solve_lower(*plan, work, l, k, x);
          cholax::kernels<T>().solve_lower_transposed(*plan, work, l, k, x);
        });
    return Status{};
  }
};

// (L, x) -> L x, or Lᵀ x with `transpose`; x in permuted labels.
struct FactorMatvecKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{1, 2}, {2}, {"transpose"}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    const int k = static_cast<int>(call.in[1].last);
    const auto multiply = call.flag("transpose") ? cholax::kernels<T>().multiply_lower_transposed
                                                 : cholax::kernels<T>().multiply_lower;
    for_each_member<T>(call, double(plan->size) * k, [&](const Work<T>& work, std::int64_t b) {
      multiply(*plan, work, call.operand<T>(0, b), k, call.operand<T>(1, b), call.result<T>(0, b));
    });
    return Status{};
  }
};

// (u, v) -> lower(u vᵀ) on the filled pattern.
struct FactorOuterKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{2, 2}, {1}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    const int k = static_cast<int>(call.in[0].last);
    for_each_member<T>(call, double(plan->size) * k, [&](const Work<T>& work, std::int64_t b) {
      cholax::kernels<T>().outer_on_factor(*plan, work, k, call.operand<T>(0, b),
                                           call.operand<T>(1, b), call.result<T>(0, b));
    });
    return Status{};
  }
};

// x -> P x, or Pᵀ x with `transpose` (rows of an n x k array).
struct PermuteKernel {
  using Structure = PlanPointer;
  inline static const Signature signature{{2}, {2}, {"transpose"}};
  template <class T>
  static Status run(const PlanPointer& plan, const Call& call) {
    const std::int64_t k = call.in[0].last;
    const std::vector<Index>& source = call.flag("transpose") ? plan->iperm : plan->perm;
    for (std::int64_t b = 0; b < call.batch; ++b)
      for (Index i = 0; i < plan->n; ++i)
        std::copy_n(call.operand<T>(0, b) + source[i] * k, k, call.result<T>(0, b) + i * k);
    return Status{};
  }
};

struct GatherKernel {
  using Structure = EntryMap;
  inline static const Signature signature{{1}, {1}};
  template <class T>
  static Status run(const EntryMap& map, const Call& call) {
    for_each_member<T>(call, double(map.positions.size()), [&](const Work<T>&, std::int64_t b) {
      gather(map, call.operand<T>(0, b), call.result<T>(0, b));
    });
    return Status{};
  }
};

struct ScatterKernel {
  using Structure = EntryMap;
  inline static const Signature signature{{1}, {1}};
  template <class T>
  static Status run(const EntryMap& map, const Call& call) {
    for_each_member<T>(call, double(map.positions.size()), [&](const Work<T>&, std::int64_t b) {
      scatter(map, call.operand<T>(0, b), call.result<T>(0, b));
    });
    return Status{};
  }
};

struct ContractKernel {
  using Structure = Triples;
  inline static const Signature signature{{1, 1}, {1}, {}, {"roles"}};
  template <class T>
  static Status run(const Triples& triples, const Call& call) {
    for_each_member<T>(call, double(triples.index[0].size()), [&](const Work<T>&, std::int64_t b) {
      contract(triples, call.list("roles").data(), call.operand<T>(0, b), call.operand<T>(1, b),
               call.result<T>(0, b));
    });
    return Status{};
  }
};

struct MatvecKernel {
  using Structure = Csc;
  inline static const Signature signature{{1, 2}, {2}, {"transpose"}};
  template <class T>
  static Status run(const Csc& a, const Call& call) {
    const int k = static_cast<int>(call.in[1].last);
    const bool transpose = call.flag("transpose");
    for_each_member<T>(call, double(a.indices.size()) * k, [&](const Work<T>&, std::int64_t b) {
      matvec(a, transpose, call.operand<T>(0, b), k, call.operand<T>(1, b), call.result<T>(0, b));
    });
    return Status{};
  }
};

struct OuterOnPatternKernel {
  using Structure = Csc;
  inline static const Signature signature{{2, 2}, {1}};
  template <class T>
  static Status run(const Csc& a, const Call& call) {
    const int k = static_cast<int>(call.in[0].last);
    for_each_member<T>(call, double(a.indices.size()) * k, [&](const Work<T>&, std::int64_t b) {
      outer_on_pattern(a, k, call.operand<T>(0, b), call.operand<T>(1, b), call.result<T>(0, b));
    });
    return Status{};
  }
};

}  // namespace cholax::calls
