// Times of the numeric kernels on a matrix from a file, without Python or XLA:
//   time_kernels MATRIX [PERMUTATION] [THREADS]
// MATRIX holds int64 n, int64 nnz, int64 indptr[n+1], int32 indices[nnz], float64 values[nnz] of
// the lower triangle; PERMUTATION int32[n] (AMD where it is "-" or missing).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>

#include "../cpu/kernels.h"
#include "../symbolic/amd.h"
#include "../symbolic/plan.h"

using namespace cholax;

namespace {

template <class X>
std::vector<X> read(std::ifstream& file, std::size_t count) {
  std::vector<X> out(count);
  file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(count * sizeof(X)));
  return out;
}

// Wall time; CPU time of this thread where it works alone, which other processes disturb less.
bool alone = true;
double now() {
  timespec t;
  clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

std::size_t least_runs = 5;

// The best of at least five runs, in milliseconds: what disturbs a run only makes it longer.
template <class F>
double milliseconds(F&& f) {
  std::vector<double> times;
  for (double total = 0;
       times.size() < least_runs || (total < 0.06 * double(least_runs) && times.size() < 200);) {
    const double start = now();
    f();
    times.push_back(now() - start);
    total += times.back();
  }
  return 1e3 * *std::min_element(times.begin(), times.end());
}

struct Timer {
  const Plan& plan;
  ThreadSource source;

  template <class F>
  double operator()(F&& kernel) const {
    return milliseconds([&] {
      if (source.threads == 1) {
        static Session<double> session;
        kernel(Work<double>{&session, 0, false});
      } else {
        Team team(source, 0);
        Session<double> session(&team);
        kernel(Work<double>{&session, 0, true});
      }
    });
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 1;
  std::ifstream file(argv[1], std::ios::binary);
  const auto sizes = read<std::int64_t>(file, 2);
  const Index n = static_cast<Index>(sizes[0]);
  const auto long_ptr = read<std::int64_t>(file, n + 1);
  const std::vector<Index> ptr(long_ptr.begin(), long_ptr.end());
  const auto row = read<Index>(file, sizes[1]);
  const auto values = read<double>(file, sizes[1]);
  std::vector<Index> perm;
  if (argc > 2 && std::string(argv[2]) != "-") {
    std::ifstream order(argv[2], std::ios::binary);
    perm = read<Index>(order, n);
  } else {
    perm = amd(n, ptr.data(), row.data());
  }
  AnalyzeOptions options;
  if (const char* text = std::getenv("RELAX"))
    std::sscanf(text, "%d,%d,%d,%lf,%lf,%lf,%lf", &options.relax.width[0], &options.relax.width[1],
                &options.relax.width[2], &options.relax.zeros[0], &options.relax.zeros[1],
                &options.relax.zeros[2], &options.relax.zeros[3]);
  const auto plan = analyze(n, ptr.data(), row.data(), perm.data(), options);
  const int threads = argc > 3 ? std::atoi(argv[3]) : 1;
  alone = threads == 1;
  const Timer time{
      *plan, {threads, [](void*, std::function<void()> f) { std::thread(f).detach(); }, nullptr}};
  const auto& k = kernels<double>();
  std::vector<double> l(plan->size), x(plan->size), y(plan->size), b(32 * std::size_t(n), 1.0);
  std::int32_t status = -1;
  const double factor =
      time([&](auto w) { status = k.cholesky(*plan, w, values.data(), l.data()); });
  if (std::getenv("ONLY_FACTOR") != nullptr) {
    std::printf("%s %.3f ms, %.1f GF/s, %d supernodes, stored %.2f nnz(L)\n", argv[1], factor,
                plan->flops / factor * 1e-6, plan->num_supernodes,
                double(plan->size) / double(plan->nnz_factor));
    return 0;
  }
  if (std::getenv("ONLY_INVERSE") != nullptr) least_runs = 50;
  const double inverse = time([&](auto w) { k.selected_inverse(*plan, w, l.data(), x.data()); });
  if (std::getenv("ONLY_INVERSE") != nullptr) {
    std::printf("%s factor %.3f ms, selected inverse %.2f x\n", argv[1], factor, inverse / factor);
    return 0;
  }
  double norm = 0;
  for (Index c = 0; c < n; ++c) norm += x[plan->value_position[ptr[c]]];
  const double c =
      time([&](auto w) { k.cholesky_tangent(*plan, w, l.data(), x.data(), y.data()); });
  const double ct =
      time([&](auto w) { k.cholesky_cotangent(*plan, w, l.data(), x.data(), y.data()); });
  const double s =
      time([&](auto w) { k.symmetric_product(*plan, w, l.data(), x.data(), y.data()); });
  const double t =
      time([&](auto w) { k.symmetric_product_transpose(*plan, w, l.data(), x.data(), y.data()); });
  const auto solve = [&](int columns) {
    return time([&](auto w) {
      std::fill_n(b.begin(), std::size_t(n) * columns, 1.0);
      k.solve_lower(*plan, w, l.data(), columns, b.data());
    });
  };
  const auto solve_t = [&](int columns) {
    return time([&](auto w) {
      std::fill_n(b.begin(), std::size_t(n) * columns, 1.0);
      k.solve_lower_transposed(*plan, w, l.data(), columns, b.data());
    });
  };
  std::printf(
      "%-14s %s %dT nnz(L) %.3g stored %.2f flops %.3g super %d stack %.2f status %d trace %.12g\n"
      "  factor %.3f ms (%.1f GF/s) selinv %.2f C %.2f Ct %.2f S %.2f T %.2f x factor; "
      "solve1 %.2f/%.2f ms (L %.1f GB/s) solve32 %.2f/%.2f ms\n",
      argv[1], k.target, threads, double(plan->nnz_factor),
      double(plan->size) / double(plan->nnz_factor), plan->flops, plan->num_supernodes,
      double(plan->whole.stack[0] + plan->whole.stack[1]) / double(plan->size), status, norm,
      factor, plan->flops / factor * 1e-6, inverse / factor, c / factor, ct / factor, s / factor,
      t / factor, solve(1), solve_t(1), 8e-6 * double(plan->nnz_factor) / solve(1), solve(32),
      solve_t(32));
  return 0;
}
