// Teams: every piece of work is done once, in an allowed order, whatever the threads do.
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "../core/plain_threads.h"
#include "../core/team.h"
#include "check.h"

using namespace cholax;

namespace {

// Threads that come late, or never (they run what they are given only when the team is gone).
struct Latecomers {
  std::vector<std::function<void()>> kept;
  ThreadSource source(int threads) {
    return {threads,
            [](void* context, std::function<void()> work) {
              static_cast<Latecomers*>(context)->kept.push_back(std::move(work));
            },
            this};
  }
};

// A source without free threads that runs its work in the calling one.
ThreadSource immediate(int threads) {
  return {threads, [](void*, std::function<void()> work) { work(); }, nullptr};
}

void test_loop(const ThreadSource& source) {
  Team team(source, 0);
  std::vector<std::atomic<int>> done(1000);
  team.parallel_for(1000, 0, [&](int i, int worker) {
    CHECK(worker >= 0 && worker < team.size());
    ++done[i];
  });
  for (const auto& count : done) CHECK(count == 1);
}

// A chain of pairs: 2k and 2k+1 are children of 2k+2.
TaskForest pairs(int count) {
  TaskForest forest;
  for (int t = 0; t < count; ++t) {
    const int up = t / 2 * 2 + 2;
    forest.parent.push_back(up < count ? up : -1);
    forest.num_children.push_back(0);
  }
  for (const int up : forest.parent)
    if (up >= 0) ++forest.num_children[up];
  return forest;
}

void test_tasks(const ThreadSource& source, bool children_first) {
  Team team(source, 0);
  const TaskForest forest = pairs(101);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::vector<std::atomic<int>> done(forest.size()), inner(forest.size());
    team.run(forest, children_first, [&](int task, int worker) {
      for (int t = 0; t < forest.size(); ++t) {
        const bool before = children_first ? forest.parent[t] == task : forest.parent[task] == t;
        if (before) CHECK(done[t] == 1);
      }
      team.parallel_for(7, worker, [&](int, int) { ++inner[task]; });
      ++done[task];
    });
    for (int t = 0; t < forest.size(); ++t) CHECK(done[t] == 1 && inner[t] == 7);
  }
}

void test_errors(const ThreadSource& source) {
  Team team(source, 0);
  CHECK_THROWS(team.parallel_for(100, 0,
                                 [](int i, int) {
                                   if (i == 57) throw std::runtime_error("piece 57");
                                 }),
               std::runtime_error, "piece 57");
  CHECK_THROWS(team.run(pairs(31), true,
                        [](int task, int) {
                          if (task == 8) throw std::runtime_error("task 8");
                        }),
               std::runtime_error, "task 8");
  test_loop(source);
}

void test_source(const ThreadSource& source) {
  test_loop(source);
  test_tasks(source, true);
  test_tasks(source, false);
  test_errors(source);
}

}  // namespace

int main() {
  for (const int threads : {1, 2, 3, 8}) {
    check::where = "plain threads";
    test_source(plain_threads(threads));
    check::where = "immediate";
    test_source(immediate(threads));
    check::where = "latecomers";
    Latecomers latecomers;
    test_source(latecomers.source(threads));
    for (const auto& work : latecomers.kept) work();
  }
  Team limited(plain_threads(8), 2);
  CHECK(limited.size() == 2);
  return check::finish();
}
