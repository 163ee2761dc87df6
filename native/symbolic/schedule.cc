#include "schedule.h"

#include <algorithm>

namespace cholax {

Schedule postorder_schedule(const std::vector<Index>& parent, const std::vector<Index>& below) {
  const Index num = static_cast<Index>(parent.size());
  Schedule out;
  out.children = children_of(parent);
  const auto square = [&](Index s) { return Offset{below[s]} * below[s]; };
  std::vector<Offset> peak(num);
  for (Index p = 0; p < num; ++p) {
    const auto begin = out.children.child.begin() + out.children.ptr[p];
    const auto end = out.children.child.begin() + out.children.ptr[p + 1];
    // Equal subtrees in increasing order, so that the schedule does not depend on the sort.
    std::sort(begin, end, [&](Index a, Index b) {
      const Offset x = peak[a] - square(a), y = peak[b] - square(b);
      return x != y ? x > y : a < b;
    });
    Offset held = 0;
    peak[p] = square(p);
    for (auto c = begin; c != end; ++c) {
      peak[p] = std::max(peak[p], held + peak[*c]);
      held += square(*c);
    }
  }
  out.order = postorder(parent, out.children);
  return out;
}

}  // namespace cholax
