// Threads of the operating system as a source for a Team.
#pragma once
#include <functional>
#include <thread>
#include <utility>

#include "../core/team.h"

namespace cholax::testing {

inline ThreadSource plain_threads(int threads) {
  return {threads, [](void*, std::function<void()> work) { std::thread(std::move(work)).detach(); },
          nullptr};
}

}  // namespace cholax::testing
