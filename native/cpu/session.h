// What one kernel call works with: its threads, and scratch memory for each of them.
#pragma once
#include <vector>

#include "core/buffer.h"
#include "core/team.h"

namespace cholax {

// Scratch of one thread; grows as needed, reused over the members of a batch.
template <class T>
struct Scratch {
  Buffer<T> stack[2];  // update matrices of even and odd levels
  Buffer<T> work[3];   // for the node kernels
};

template <class T>
class Session {
 public:
  // `team` may be null: the calling thread works alone.
  explicit Session(Team* team = nullptr)
      : team_(team), scratch_(team == nullptr ? 1 : team->size()) {}

  Team* team() const { return team_; }
  Scratch<T>& scratch(int worker) { return scratch_[worker]; }

 private:
  Team* team_;
  std::vector<Scratch<T>> scratch_;
};

// One member of a call: the session, the thread it runs on, and whether others may join in.
template <class T>
struct Work {
  Session<T>* session;
  int worker = 0;
  bool shared = false;

  Team* team() const { return shared ? session->team() : nullptr; }
  Scratch<T>& scratch() const { return session->scratch(worker); }
};

}  // namespace cholax
