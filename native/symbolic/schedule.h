// The order in which supernodes are processed, chosen to keep the stack of update matrices small.
#pragma once
#include <vector>

#include "etree.h"

namespace cholax {

struct Schedule {
  std::vector<Index> order;  // a postorder of the forest
  Children children;         // children of each node, in the order in which `order` visits them
};

// Liu 1986: visiting children by decreasing (peak - r^2) minimises the peak of the stack.
// Needs parent[s] > s. below[s] = r.
Schedule postorder_schedule(const std::vector<Index>& parent, const std::vector<Index>& below);

}  // namespace cholax
