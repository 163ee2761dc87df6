// The loop over the members of a batch.
#pragma once
#include "calls/call.h"
#include "core/team.h"
#include "cpu/session.h"

namespace cholax::calls {

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

}  // namespace cholax::calls
