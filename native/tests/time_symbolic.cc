// Times of ordering and analysis, and the shape of the supernodes, on grids and arrows.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "../symbolic/amd.h"
#include "../symbolic/plan.h"
#include "../symbolic/plan_queries.h"
#include "patterns.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

template <typename Work>
double seconds(Work&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void report(const char* name, const Lower& a) {
  std::vector<Index> perm;
  std::shared_ptr<const Plan> plan;
  const double ordering = seconds([&] { perm = amd(a.n, a.ptr.data(), a.row.data()); });
  const double analysis =
      seconds([&] { plan = analyze(a.n, a.ptr.data(), a.row.data(), perm.data()); });
  std::vector<Index> ptr(a.n + 1), row(plan->nnz_factor), position(plan->nnz_factor);
  const double pattern =
      seconds([&] { lower_pattern(*plan, ptr.data(), row.data(), position.data()); });
  std::printf(
      "%-22s amd %.3f s, analyze %.3f s, lower_pattern %.3f s; nnz(L) %.3g, flops %.3g, storage "
      "%.2f nnz(L), "
      "%d supernodes, mean width %.1f, largest %d x %d, stack %.2f of storage\n",
      name, ordering, analysis, pattern, double(plan->nnz_factor), plan->flops,
      double(plan->size) / double(plan->nnz_factor), plan->num_supernodes,
      double(a.n) / plan->num_supernodes, plan->max_front, plan->max_width,
      double(plan->whole.stack[0] + plan->whole.stack[1]) / double(plan->size));
}

}  // namespace

int main() {
  report("grid 100 x 100", grid_lower(100, 100, 1));
  report("grid 1000 x 1000", grid_lower(1000, 1000, 1));
  report("grid 40 x 40 x 40", grid_lower(40, 40, 40));
  report("arrow 50000 + 20 last", arrow_lower(50000, 20, false));
  report("arrow 50000 + 20 first", arrow_lower(50000, 20, true));
  return 0;
}
