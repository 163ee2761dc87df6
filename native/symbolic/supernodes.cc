#include "supernodes.h"

#include <algorithm>
#include <stdexcept>

namespace cholax {
namespace {

// Runs of columns j, j+1, ... with parent(j) = j+1 and struct(j) = {j} + struct(j+1). Grown by
// merging.
struct Chains {
  std::vector<Index> first, last;      // first and last column (the last one carries the structure)
  std::vector<Index> chain_of;         // column -> chain
  std::vector<Offset> width, entries;  // columns, exact entries of L
};

Chains find_chains(const std::vector<Index>& parent, const std::vector<Index>& count) {
  const Index n = static_cast<Index>(parent.size());
  Chains out;
  out.chain_of.resize(n);
  for (Index j = 0; j < n; ++j) {
    const bool joins = j > 0 && parent[j - 1] == j && count[j - 1] == count[j] + 1;
    if (!joins) {
      out.first.push_back(j);
      out.last.push_back(j);
      out.width.push_back(0);
      out.entries.push_back(0);
    }
    out.chain_of[j] = static_cast<Index>(out.first.size()) - 1;
    out.last.back() = j;
    out.width.back() += 1;
    out.entries.back() += count[j];
  }
  return out;
}

// May a supernode of this width, rows below and exact entries exist?
bool worthwhile(const Relaxation& relax, Offset width, Offset below, Offset entries) {
  const double trapezoid = 0.5 * double(width) * double(width + 1) + double(width) * double(below);
  const double zeros = trapezoid - double(entries);
  if (zeros <= 0) return true;
  std::size_t k = 0;
  while (k < relax.width.size() && width > relax.width[k]) ++k;
  return zeros <= relax.zeros[k] * trapezoid;
}

class Merger {
 public:
  Merger(const std::vector<Index>& parent, const std::vector<Index>& count, const Relaxation& relax,
         bool contiguous)
      : relax_(relax), contiguous_(contiguous), count_(count), chains_(find_chains(parent, count)) {
    const Index num = static_cast<Index>(chains_.first.size());
    parent_.resize(num);
    into_.resize(num);
    for (Index s = 0; s < num; ++s) {
      const Index up = parent[chains_.last[s]];
      parent_[s] = up == -1 ? -1 : chains_.chain_of[up];
      into_[s] = s;
    }
  }

  Partition run() {
    const Children children = children_of(parent_);
    for (Index p = 0; p < static_cast<Index>(parent_.size()); ++p) absorb_children(p, children);
    return partition();
  }

 private:
  Offset below(Index s) const { return count_[chains_.last[s]] - 1; }

  // Greedy: the child that adds the fewest zeros first (in place: the nearest child first).
  void absorb_children(Index p, const Children& children) {
    if (children.ptr[p] == children.ptr[p + 1]) return;
    candidates_.assign(children.child.begin() + children.ptr[p],
                       children.child.begin() + children.ptr[p + 1]);
    const auto added_zeros = [&](Index c) {
      return chains_.width[c] * (chains_.width[p] + below(p) - below(c));
    };
    if (contiguous_) {
      std::reverse(candidates_.begin(), candidates_.end());
    } else if (candidates_.size() > 1) {
      order_.clear();
      for (const Index c : candidates_) order_.emplace_back(added_zeros(c), c);
      std::sort(order_.begin(), order_.end());
      for (std::size_t k = 0; k < order_.size(); ++k) candidates_[k] = order_[k].second;
    }
    for (const Index c : candidates_) {
      if (contiguous_ && chains_.last[c] + 1 != chains_.first[p]) break;
      const Offset width = chains_.width[p] + chains_.width[c];
      const Offset entries = chains_.entries[p] + chains_.entries[c];
      if (!worthwhile(relax_, width, below(p), entries)) continue;
      chains_.first[p] = std::min(chains_.first[p], chains_.first[c]);
      chains_.width[p] = width;
      chains_.entries[p] = entries;
      into_[c] = p;
    }
  }

  Partition partition() {
    const Index num = static_cast<Index>(parent_.size());
    // Parents have larger numbers, so from the top down one step finds the surviving chain.
    for (Index s = num - 1; s >= 0; --s) into_[s] = into_[into_[s]];
    std::vector<Index> number(num, -1);
    Partition out;
    for (Index s = 0; s < num; ++s) {
      if (into_[s] != s) continue;
      number[s] = static_cast<Index>(out.width.size());
      out.width.push_back(static_cast<Index>(chains_.width[s]));
      out.below.push_back(static_cast<Index>(below(s)));
    }
    for (Index s = 0; s < num; ++s)
      if (into_[s] == s) out.parent.push_back(parent_[s] == -1 ? -1 : number[into_[parent_[s]]]);
    out.group_of.resize(count_.size());
    for (std::size_t j = 0; j < count_.size(); ++j)
      out.group_of[j] = number[into_[chains_.chain_of[j]]];
    return out;
  }

  const Relaxation relax_;
  const bool contiguous_;
  const std::vector<Index>& count_;
  Chains chains_;
  std::vector<Index> parent_, into_, candidates_;
  std::vector<std::pair<Offset, Index>> order_;
};

}  // namespace

Partition single_columns(const std::vector<Index>& parent, const std::vector<Index>& count) {
  Partition out;
  out.parent = parent;
  out.width.assign(parent.size(), 1);
  for (std::size_t j = 0; j < parent.size(); ++j) {
    out.group_of.push_back(static_cast<Index>(j));
    out.below.push_back(count[j] - 1);
  }
  return out;
}

Partition amalgamated_columns(const std::vector<Index>& parent, const std::vector<Index>& count,
                              const Relaxation& relax, bool contiguous) {
  return Merger(parent, count, relax, contiguous).run();
}

// Every group on the way up the tree from the column of an entry to its row has that row in its
// list.
RowLists supernode_rows(const EntryLists& rows, const Relabelling& names,
                        const std::vector<Index>& first, const std::vector<Index>& below,
                        const std::vector<Index>& parent) {
  const Index num = static_cast<Index>(below.size());
  RowLists out;
  out.ptr.assign(num + 1, 0);
  std::vector<Index> owner(first.back());
  for (Index s = 0; s < num; ++s) {
    out.ptr[s + 1] = out.ptr[s] + (first[s + 1] - first[s]) + below[s];
    std::fill(owner.begin() + first[s], owner.begin() + first[s + 1], s);
  }
  out.rows.resize(out.ptr[num]);
  std::vector<Offset> end(out.ptr.begin(), out.ptr.end() - 1);
  std::vector<Index> last(num, -1);
  const auto append = [&](Index s, Index i) {
    if (end[s] == out.ptr[s + 1])
      throw std::logic_error("supernode_rows: column counts and structure differ");
    last[s] = i;
    out.rows[end[s]++] = i;
  };
  for (Index i = 0; i < first.back(); ++i) {
    append(owner[i], i);
    const Index k = names.order[i];
    for (Index p = rows.ptr[k]; p < rows.ptr[k + 1]; ++p)
      for (Index s = owner[names.label[rows.entry[p].other]]; last[s] != i; s = parent[s])
        append(s, i);
  }
  if (!std::equal(end.begin(), end.end(), out.ptr.begin() + 1))
    throw std::logic_error("supernode_rows: column counts and structure differ");
  return out;
}

}  // namespace cholax
