#include "column_coloring.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace cholax {
namespace {

// The colours met in one long row, as bits. Walking the row anew for each of its columns would cost
// the square of its length.
class UsedColors {
 public:
  // The smallest colour not used here. It never falls.
  Index first_free() const { return first_free_; }

  bool uses(Index color) const {
    const std::size_t word = static_cast<std::size_t>(color) / 64;
    return word < bits_.size() && (bits_[word] >> (color % 64) & 1);
  }
  void add(Index color) {
    const std::size_t word = static_cast<std::size_t>(color) / 64;
    if (word >= bits_.size()) bits_.resize(std::max(word + 1, 2 * bits_.size()), 0);
    bits_[word] |= std::uint64_t{1} << (color % 64);
    while (uses(first_free_)) ++first_free_;
  }

 private:
  std::vector<std::uint64_t> bits_;
  Index first_free_ = 0;
};

}  // namespace

Index longest_walked_row(Index columns) {
  return std::max<Index>(64, static_cast<Index>(std::sqrt(static_cast<double>(columns))));
}

bool color_columns(const Adjacency& columns, const Adjacency& rows, const std::vector<Index>& order,
                   Index limit, std::vector<Index>& colors) {
  const Index longest = longest_walked_row(columns.size());
  std::vector<Index> long_row(rows.size(), -1);
  std::vector<UsedColors> used;
  for (Index i = 0; i < rows.size(); ++i) {
    if (rows.degree(i) <= longest) continue;
    long_row[i] = static_cast<Index>(used.size());
    used.emplace_back();
  }
  colors.assign(columns.size(), -1);
  std::vector<Index> forbidden(columns.ptr.size(), -1);
  std::vector<Index> met;
  for (const Index j : order) {
    Index color = 0;
    met.clear();
    for (Offset p = columns.ptr[j]; p < columns.ptr[j + 1]; ++p) {
      const Index row = columns.index[p];
      if (long_row[row] >= 0) {
        met.push_back(long_row[row]);
        color = std::max(color, used[long_row[row]].first_free());
        continue;
      }
      for (Offset q = rows.ptr[row]; q < rows.ptr[row + 1]; ++q) {
        const Index other = colors[rows.index[q]];
        if (other >= 0) forbidden[other] = j;
      }
    }
    const auto taken = [&](Index r) { return used[r].uses(color); };
    while (forbidden[color] == j || std::any_of(met.begin(), met.end(), taken)) ++color;
    if (color >= limit) return false;
    colors[j] = color;
    for (const Index r : met) used[r].add(color);
  }
  return true;
}

}  // namespace cholax
