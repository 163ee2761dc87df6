// Threads working together on one kernel call. The caller is always one of them and never waits
// for work nobody has started, so a call finishes with whatever threads happen to be free.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include "core/task_forest.h"

namespace cholax {

// A callable passed by reference; valid during the call only.
class LoopBody {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, LoopBody>>>
  LoopBody(F& f)  // NOLINT: implicit
      : object_(&f),
        call_([](void* object, int i, int worker) { (*static_cast<F*>(object))(i, worker); }) {}
  void operator()(int i, int worker) const { call_(object_, i, worker); }

 private:
  void* object_;
  void (*call_)(void*, int, int);
};

// Where threads come from: XLA's pool inside a program, plain threads elsewhere.
struct ThreadSource {
  int threads = 1;  // including the caller
  void (*spawn)(void* context, std::function<void()> work) = nullptr;
  void* context = nullptr;
};

class Team {
 public:
  // At most `limit` threads (0: as many as the source has).
  Team(const ThreadSource& source, int limit);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // body(i, worker) for i = 0 .. count−1, in any order; worker < size() names the thread's scratch.
  // May be called from inside a task or a body of `run` (by `worker`).
  template <class F>
  void parallel_for(int count, int worker, F&& body) {
    if (size_ == 1 || count == 1) {
      for (int i = 0; i < count; ++i) body(i, worker);
      return;
    }
    loop(count, worker, LoopBody(body));
  }

  // body(task, worker) for every task, children before parents (or parents before children).
  template <class F>
  void run(const TaskForest& forest, bool children_first, F&& body) {
    tree(forest, children_first, LoopBody(body));
  }

 private:
  struct Loop;
  struct State;
  void loop(int count, int worker, LoopBody body);
  void tree(const TaskForest& forest, bool children_first, LoopBody body);

  int size_;
  std::shared_ptr<State> state_;
};

// The limit on threads of one call: set by CHOLAX_NUM_THREADS or set_num_threads; 0 means none.
int thread_limit();
void set_thread_limit(int limit);

}  // namespace cholax
