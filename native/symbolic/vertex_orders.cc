#include "vertex_orders.h"

#include <numeric>
#include <utility>

namespace cholax {

std::vector<Index> by_falling_degree(const std::vector<Index>& degree) {
  const Index most = degree.empty() ? 0 : *std::max_element(degree.begin(), degree.end());
  std::vector<Index> start(static_cast<std::size_t>(most) + 2, 0);
  for (Index d : degree) ++start[most - d + 1];
  std::partial_sum(start.begin(), start.end(), start.begin());
  std::vector<Index> order(degree.size());
  for (std::size_t v = 0; v < degree.size(); ++v)
    order[start[most - degree[v]]++] = static_cast<Index>(v);
  return order;
}

std::vector<Index> random_order(Index n, std::uint64_t seed) {
  std::vector<Index> order(n);
  std::iota(order.begin(), order.end(), 0);
  // splitmix64; std::shuffle differs between standard libraries.
  std::uint64_t state = seed;
  const auto draw = [&state] {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  for (Index last = n; last > 1; --last)
    std::swap(order[last - 1], order[draw() % static_cast<std::uint64_t>(last)]);
  return order;
}

}  // namespace cholax
