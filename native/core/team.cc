#include "core/team.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cholax {

namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

constexpr int kSpins = 2000;  // some microseconds, before a thread goes to sleep

int limit_from_environment() {
  const char* text = std::getenv("CHOLAX_NUM_THREADS");
  return text == nullptr ? 0 : std::max(0, std::atoi(text));
}

std::atomic<int>& limit() {
  static std::atomic<int> value{limit_from_environment()};
  return value;
}

}  // namespace

int thread_limit() { return limit().load(std::memory_order_relaxed); }
void set_thread_limit(int value) { limit().store(std::max(0, value)); }

// One parallel_for in progress.
struct Team::Loop {
  LoopBody body;
  int count;
  std::atomic<int> next{0};
  std::atomic<int> helpers{0};  // threads other than the owner inside the loop
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // of the thread that set `failed`

  Loop(LoopBody b, int c) : body(b), count(c) {}

  void work(int worker) {
    try {
      for (int i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(i, worker);
    } catch (...) {
      next.store(count);
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
};

// Shared with helpers that may start late: they find it closed and leave.
struct Team::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<int> version{0};  // grows whenever there may be something new to do
  std::vector<Loop*> loops;
  std::vector<int> ready;
  std::vector<int> waiting_for;
  const TaskForest* forest = nullptr;
  const LoopBody* task_body = nullptr;
  std::vector<std::vector<int>> children;  // for parents-first runs
  bool children_first = true;
  int unfinished = 0;
  bool closed = false;
  int next_worker = 1;
  const std::thread::id owner = std::this_thread::get_id();
  std::exception_ptr error;

  void notify() {
    version.fetch_add(1);
    changed.notify_all();
  }

  // Caller holds the lock. A loop that still has work, or null.
  Loop* open_loop() {
    for (Loop* loop : loops)
      if (loop->next.load() < loop->count) return loop;
    return nullptr;
  }

  // Lends a hand to one loop or runs one task; false when there was nothing to do. Takes the lock.
  bool step(std::unique_lock<std::mutex>& lock, int worker) {
    if (Loop* loop = open_loop()) {
      loop->helpers.fetch_add(1);
      lock.unlock();
      loop->work(worker);
      loop->helpers.fetch_sub(1);
      lock.lock();
      return true;
    }
    if (ready.empty()) return false;
    const int task = ready.back();
    ready.pop_back();
    if (!error) run(lock, task, worker);
    finish(task);
    return true;
  }

  void run(std::unique_lock<std::mutex>& lock, int task, int worker) {
    std::exception_ptr failure;
    lock.unlock();
    try {
      (*task_body)(task, worker);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) error = failure;
  }

  void finish(int task) {
    --unfinished;
    if (children_first) {
      const int up = forest->parent[task];
      if (up >= 0 && --waiting_for[up] == 0) ready.push_back(up);
    } else {
      for (auto c = children[task].rbegin(); c != children[task].rend(); ++c) ready.push_back(*c);
    }
    notify();
  }

  // Waits until something changed; the lock is held on entry and exit.
  void wait(std::unique_lock<std::mutex>& lock) {
    const int seen = version.load();
    lock.unlock();
    for (int i = 0; i < kSpins && version.load() == seen; ++i) pause();
    lock.lock();
    changed.wait(lock, [&] { return version.load() != seen; });
  }

  void help() {
    // A source without free threads may run what it is given at once.
    if (std::this_thread::get_id() == owner) return;
    std::unique_lock<std::mutex> lock(mutex);
    if (closed) return;
    const int worker = next_worker++;
    while (!closed)
      if (!step(lock, worker)) wait(lock);
  }
};

Team::Team(const ThreadSource& source, int limit) : size_(std::max(1, source.threads)) {
  if (limit > 0) size_ = std::min(size_, limit);
  if (size_ == 1) return;
  state_ = std::make_shared<State>();
  for (int t = 1; t < size_; ++t) source.spawn(source.context, [state = state_] { state->help(); });
}

Team::~Team() {
  if (!state_) return;
  std::lock_guard<std::mutex> lock(state_->mutex);
  state_->closed = true;
  state_->notify();
}

void Team::loop(int count, int worker, LoopBody body) {
  Loop loop(body, count);
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->loops.push_back(&loop);
    state_->notify();
  }
  loop.work(worker);
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    auto& loops = state_->loops;
    loops.erase(std::find(loops.begin(), loops.end(), &loop));
  }
  while (loop.helpers.load() != 0) pause();  // each is in its last piece
  if (loop.error) std::rethrow_exception(loop.error);
}

void Team::tree(const TaskForest& forest, bool children_first, LoopBody body) {
  const int num = static_cast<int>(forest.parent.size());
  if (size_ == 1 || num == 1) {
    for (int i = 0; i < num; ++i) body(children_first ? i : num - 1 - i, 0);
    return;
  }
  State& state = *state_;
  std::unique_lock<std::mutex> lock(state.mutex);
  state.forest = &forest;
  state.task_body = &body;
  state.children_first = children_first;
  state.unfinished = num;
  state.waiting_for = forest.num_children;
  state.children.assign(children_first ? 0 : num, {});
  for (int t = num - 1; t >= 0; --t) {
    const bool root = forest.parent[t] < 0;
    if (!children_first && !root) state.children[forest.parent[t]].push_back(t);
    if (children_first ? forest.num_children[t] == 0 : root) state.ready.push_back(t);
  }
  state.notify();
  while (state.unfinished > 0)
    if (!state.step(lock, 0)) state.wait(lock);
  if (state.error) std::rethrow_exception(std::exchange(state.error, nullptr));
}

}  // namespace cholax
