#include "twins.h"

#include <algorithm>
#include <cstdint>
#include <tuple>

namespace cholax {
namespace {

constexpr Index kStar = 16;    // fewer children than this are left alone
constexpr Index kChains = 16;  // chains per parent

// A fixed mixing of the bits of a row label, so that sums over lists rarely collide.
std::uint64_t mixed(Index row) {
  std::uint64_t x = static_cast<std::uint64_t>(row) * 0x9E3779B97F4A7C15u;
  x ^= x >> 29;
  return x * 0xBF58476D1CE4E5B9u;
}

// Calls visit(p, twins) for the sets of at least two twins, increasing, below each parent p with
// many children.
template <typename Visit>
void for_each_twins(const std::vector<Index>& parent, const std::vector<Index>& below,
                    const RowLists& lists, Visit&& visit) {
  const Children children = children_of(parent);
  std::vector<std::tuple<Index, std::uint64_t, Index>> keys;
  std::vector<Index> twins;
  const auto rows = [&](Index s) { return lists.rows.begin() + lists.ptr[s + 1] - below[s]; };
  const auto same = [&](Index a, Index b) {
    return below[a] == below[b] && std::equal(rows(a), rows(a) + below[a], rows(b));
  };
  for (Index p = 0; p < static_cast<Index>(parent.size()); ++p) {
    if (children.ptr[p + 1] - children.ptr[p] < kStar) continue;
    keys.clear();
    for (Index k = children.ptr[p]; k < children.ptr[p + 1]; ++k) {
      const Index c = children.child[k];
      std::uint64_t hash = 0;
      for (Index t = 0; t < below[c]; ++t) hash += mixed(rows(c)[t]);
      keys.emplace_back(below[c], hash, c);
    }
    std::sort(keys.begin(), keys.end());
    for (std::size_t k = 0; k < keys.size();) {
      twins.assign(1, std::get<2>(keys[k]));
      while (++k < keys.size() && same(twins[0], std::get<2>(keys[k])))
        twins.push_back(std::get<2>(keys[k]));
      if (twins.size() > 1) visit(p, twins);
    }
  }
}

// Keep the groups with into[s] == s, numbered as before.
void keep_survivors(Partition& groups, const std::vector<Index>& first,
                    const std::vector<Index>& into) {
  const Index num = static_cast<Index>(into.size());
  std::vector<Index> number(num, -1);
  Partition out;
  for (Index s = 0; s < num; ++s) {
    if (into[s] != s) continue;
    number[s] = static_cast<Index>(out.width.size());
    out.width.push_back(groups.width[s]);
    out.below.push_back(groups.below[s]);
    out.parent.push_back(groups.parent[s]);
  }
  for (Index& p : out.parent)
    if (p != -1) p = number[into[p]];
  out.group_of.resize(first.back());
  for (Index s = 0; s < num; ++s)
    std::fill(out.group_of.begin() + first[s], out.group_of.begin() + first[s + 1],
              number[into[s]]);
  groups = std::move(out);
}

}  // namespace

bool merge_twins(Partition& groups, const std::vector<Index>& first, const RowLists& lists,
                 const Relaxation& relax, bool contiguous) {
  const Index num = static_cast<Index>(groups.width.size());
  std::vector<Index> into(num);
  for (Index s = 0; s < num; ++s) into[s] = s;
  bool merged = false;
  std::vector<Index> open;
  const auto close = [&] {
    for (const Index s : open) into[s] = open.back();
    merged = merged || open.size() > 1;
    open.clear();
  };
  for_each_twins(groups.parent, groups.below, lists, [&](Index, const std::vector<Index>& twins) {
    double width = 0, squares = 0;
    for (const Index s : twins) {
      const double w = groups.width[s], total = width + w;
      const double zeros = 0.5 * (total * total - squares - w * w);
      const double trapezoid = total * (0.5 * (total + 1) + groups.below[s]);
      const bool fits = total <= relax.twin_width && zeros <= relax.twin_zeros * trapezoid;
      const bool adjacent = open.empty() || !contiguous || open.back() + 1 == s;
      if (!fits || !adjacent) {
        close();
        width = squares = 0;
      }
      open.push_back(s);
      width += w;
      squares += w * w;
      groups.width[s] = static_cast<Index>(width);
    }
    close();
  });
  if (merged) keep_survivors(groups, first, into);
  return merged;
}

void chain_twins(std::vector<Index>& parent, const std::vector<Index>& below,
                 const RowLists& lists) {
  std::vector<Index> changed = parent;
  for_each_twins(parent, below, lists, [&](Index p, const std::vector<Index>& twins) {
    if (below[twins[0]] == 0 || twins.size() <= kChains) return;
    const std::size_t length = (twins.size() + kChains - 1) / kChains;
    for (std::size_t k = 0; k < twins.size(); ++k)
      changed[twins[k]] = (k + 1) % length && k + 1 < twins.size() ? twins[k + 1] : p;
  });
  parent.swap(changed);
}

}  // namespace cholax
