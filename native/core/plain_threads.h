// Threads of the operating system as a source for a Team, where there is no pool of XLA's.
#pragma once
#include <algorithm>
#include <functional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/team.h"

namespace cholax {

inline ThreadSource plain_threads(int threads) {
  const auto spawn = [](void*, std::function<void()> work) {
    try {
      std::thread(std::move(work)).detach();
    } catch (const std::system_error&) {  // no thread to be had: the caller does the work alone
    }
  };
  return {threads, spawn, nullptr};
}

// As many threads as the machine has cores, the caller included.
inline ThreadSource own_threads() {
  if (thread_limit() == 1) return {};
  return plain_threads(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
}

}  // namespace cholax
