// The kernels as FFI calls see them: signature, structure, and the loop over batch members.
// kernels.def lists them; handlers.cc makes one FFI handler from each.
#pragma once
#include <memory>
#include <string>
#include <type_traits>

#include "core/structure.h"
#include "cpu/kernels.h"
#include "cpu/log_determinant.h"
#include "ffi/call.h"

namespace cholax::ffi {

using PlanPointer = std::shared_ptr<const Plan>;

// Calls whose work (multiply-adds over the whole batch) is below this stay on one thread: waking
// another costs some microseconds.
inline constexpr double kSharedWork = 5e5;

// Runs member(work, b) for every member of the batch. Enough members are shared out whole; few are
// worked on by all threads together, one after another.
template <class T, class Member>
void for_each_member(const Call& call, double member_work, Member&& member) {
  const bool alone = call.threads.threads == 1 || member_work * double(call.batch) < kSharedWork;
  if (alone) {
    Session<T> session;
    for (std::int64_t b = 0; b < call.batch; ++b) member(Work<T>{&session, 0, false}, b);
    return;
  }
  Team team(call.threads, thread_limit());
  Session<T> session(&team);
  if (call.batch >= team.size() && team.size() > 1)
    return team.parallel_for(static_cast<int>(call.batch), 0, [&](int b, int worker) {
      member(Work<T>{&session, worker, false}, b);
    });
  for (std::int64_t b = 0; b < call.batch; ++b) member(Work<T>{&session, 0, team.size() > 1}, b);
}

inline std::string bad_pivot_message(std::int32_t status, std::int64_t batch, std::int64_t member) {
  return "cholesky: the matrix must be positive definite, but the pivot of row " +
         std::to_string(status - 1) + " is not a finite positive number" +
         (batch > 1 ? " in batch member " + std::to_string(member) : std::string()) + ".";
}

// values -> (L, status). With the flag `throw` a failure is an error instead of a status.
struct CholeskyKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1}, 1, {1, 0}, 2};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, plan->cost, [&](const Work<T>& work, std::int64_t b) {
      *call.result<std::int32_t>(1, b) =
          cholax::kernels<T>().cholesky(*plan, work, call.operand<T>(0, b), call.result<T>(0, b));
    });
    for (std::int64_t b = 0; call.flag && b < call.batch; ++b)
      if (const std::int32_t status = *call.result<std::int32_t>(1, b); status != 0)
        return xf::Error(xf::ErrorCode::kFailedPrecondition,
                         bad_pivot_message(status, call.batch, b));
    return xf::Error::Success();
  }
};

// A member of a PlanKernels table, for both value types.
template <class T>
using BinaryKernel = void (*PlanKernels<T>::*)(const Plan&, const Work<T>&, const T*, const T*, T*);

// Kernels of the form (L, X) -> Y on the filled pattern.
template <BinaryKernel<double> kDouble, BinaryKernel<float> kSingle>
struct FactorBinaryKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 1}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, plan->cost, [&](const Work<T>& work, std::int64_t b) {
      const T *l = call.operand<T>(0, b), *x = call.operand<T>(1, b);
      if constexpr (std::is_same_v<T, double>)
        (cholax::kernels<T>().*kDouble)(*plan, work, l, x, call.result<T>(0, b));
      else
        (cholax::kernels<T>().*kSingle)(*plan, work, l, x, call.result<T>(0, b));
    });
    return xf::Error::Success();
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

// L -> Y, possibly in L's memory. The second operand is not read: it makes XLA run this call after
// the one that computes it.
struct SelectedInverseKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 0}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, 2 * plan->cost, [&](const Work<T>& work, std::int64_t b) {
      cholax::kernels<T>().selected_inverse(*plan, work, call.operand<T>(0, b),
                                            call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

// L -> log|A|
struct LogDeterminantKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1}, 1, {0}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    for_each_member<T>(call, plan->n, [&](const Work<T>&, std::int64_t b) {
      *call.result<T>(0, b) = log_determinant(*plan, call.operand<T>(0, b));
    });
    return xf::Error::Success();
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

// (L, b) -> L⁻¹ b, or L⁻ᵀ b with the flag; b in permuted labels.
struct TriangularSolveKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    const auto sweep =
        call.flag ? cholax::kernels<T>().solve_lower_transposed : cholax::kernels<T>().solve_lower;
    solve_block<T>(
        *plan, call, [](Index i) { return std::int64_t(i); },
        [&](const Work<T>& work, int k, const T* l, T* x) { sweep(*plan, work, l, k, x); });
    return xf::Error::Success();
  }
};

// (L, b) -> A⁻¹ b in the original labels.
struct SolveKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    solve_block<T>(
        *plan, call, [&](Index i) { return std::int64_t(plan->perm[i]); },
        [&](const Work<T>& work, int k, const T* l, T* x) {
          cholax::kernels<T>().solve_lower(*plan, work, l, k, x);
          cholax::kernels<T>().solve_lower_transposed(*plan, work, l, k, x);
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
    const int k = static_cast<int>(call.in[1].last);
    const auto multiply = call.flag ? cholax::kernels<T>().multiply_lower_transposed
                                    : cholax::kernels<T>().multiply_lower;
    for_each_member<T>(call, double(plan->size) * k, [&](const Work<T>& work, std::int64_t b) {
      multiply(*plan, work, call.operand<T>(0, b), k, call.operand<T>(1, b), call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

// (u, v) -> lower(u vᵀ) on the filled pattern.
struct FactorOuterKernel {
  using Structure = PlanPointer;
  static constexpr Signature signature{{2, 2}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const PlanPointer& plan, const Call& call) {
    const int k = static_cast<int>(call.in[0].last);
    for_each_member<T>(call, double(plan->size) * k, [&](const Work<T>& work, std::int64_t b) {
      cholax::kernels<T>().outer_on_factor(*plan, work, k, call.operand<T>(0, b),
                                           call.operand<T>(1, b), call.result<T>(0, b));
    });
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
    for_each_member<T>(call, double(map.positions.size()), [&](const Work<T>&, std::int64_t b) {
      gather(map, call.operand<T>(0, b), call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

struct ScatterKernel {
  using Structure = EntryMap;
  static constexpr Signature signature{{1}, 1, {1}, 1};
  template <class T>
  static xf::Error run(const EntryMap& map, const Call& call) {
    for_each_member<T>(call, double(map.positions.size()), [&](const Work<T>&, std::int64_t b) {
      scatter(map, call.operand<T>(0, b), call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

struct ContractKernel {
  using Structure = Triples;
  static constexpr Signature signature{{1, 1}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const Triples& triples, const Call& call) {
    for_each_member<T>(call, double(triples.index[0].size()), [&](const Work<T>&, std::int64_t b) {
      contract(triples, call.roles, call.operand<T>(0, b), call.operand<T>(1, b),
               call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

struct MatvecKernel {
  using Structure = Csc;
  static constexpr Signature signature{{1, 2}, 2, {2}, 1};
  template <class T>
  static xf::Error run(const Csc& a, const Call& call) {
    const int k = static_cast<int>(call.in[1].last);
    for_each_member<T>(call, double(a.indices.size()) * k, [&](const Work<T>&, std::int64_t b) {
      matvec(a, call.flag, call.operand<T>(0, b), k, call.operand<T>(1, b), call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

struct OuterOnPatternKernel {
  using Structure = Csc;
  static constexpr Signature signature{{2, 2}, 2, {1}, 1};
  template <class T>
  static xf::Error run(const Csc& a, const Call& call) {
    const int k = static_cast<int>(call.in[0].last);
    for_each_member<T>(call, double(a.indices.size()) * k, [&](const Work<T>&, std::int64_t b) {
      outer_on_pattern(a, k, call.operand<T>(0, b), call.operand<T>(1, b), call.result<T>(0, b));
    });
    return xf::Error::Success();
  }
};

}  // namespace cholax::ffi
