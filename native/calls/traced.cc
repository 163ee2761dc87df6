#include "calls/traced.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>

#include "symbolic/plan_queries.h"

namespace cholax::calls {

namespace {

// Throws unless (indptr, indices) is a sorted lower-triangular CSC pattern with full diagonal.
void check_lower(const Indices& indptr, const Indices& indices) {
  const Index n = static_cast<Index>(indptr.size) - 1;
  if (n < 0 || indptr[0] != 0 || indptr[n] != static_cast<Index>(indices.size))
    throw std::invalid_argument(
        "cholax.csc: indptr must run from 0 to the number of stored entries.");
  for (Index j = 0; j < n; ++j) {
    if (indptr[j + 1] < indptr[j] || indptr[j + 1] > indptr[n])
      throw std::invalid_argument("cholax.csc: indptr must not decrease.");
    if (indptr[j] == indptr[j + 1] || indices[indptr[j]] != j)
      throw std::invalid_argument("cholax.csc: column " + std::to_string(j) +
                                  " must start with its diagonal entry (lower triangle, sorted).");
    for (Index p = indptr[j] + 1; p < indptr[j + 1]; ++p)
      if (indices[p] <= indices[p - 1] || indices[p] >= n)
        throw std::invalid_argument("cholax.csc: row indices of column " + std::to_string(j) +
                                    " must be sorted, unique and less than " + std::to_string(n) +
                                    ".");
  }
}

// The few plans made last for traced index arrays. They are symbolic only and found by comparing
// whole patterns, so a stale one is never used.
class RecentPlans {
 public:
  std::shared_ptr<const Plan> get(bool is_factor, const Indices& indptr, const Indices& indices) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (const Entry& entry : entries_)
        if (entry.is_factor == is_factor && same(entry.indptr, indptr) &&
            same(entry.indices, indices))
          return entry.plan;
    }
    check_lower(indptr, indices);
    const Index n = static_cast<Index>(indptr.size) - 1;
    AnalyzeOptions options;
    options.postorder = false;
    options.supernodal = false;
    auto plan = is_factor ? plan_from_factor(n, indptr.data, indices.data)
                          : analyze(n, indptr.data, indices.data, nullptr, options);
    std::lock_guard<std::mutex> lock(mutex_);
    entries_.push_front(
        {is_factor, {indptr.begin(), indptr.end()}, {indices.begin(), indices.end()}, plan});
    if (entries_.size() > kCapacity) entries_.pop_back();
    return plan;
  }

 private:
  static bool same(const std::vector<Index>& a, const Indices& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

  static constexpr std::size_t kCapacity = 4;
  struct Entry {
    bool is_factor;
    std::vector<Index> indptr, indices;
    std::shared_ptr<const Plan> plan;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;
};

}  // namespace

std::shared_ptr<const Plan> traced_plan(Indices indptr, Indices indices, std::int64_t size,
                                        bool is_factor) {
  static RecentPlans recent;
  auto plan = recent.get(is_factor, indptr, indices);
  if (plan->size != size)
    throw std::invalid_argument("cholax.csc: L_nse = " + std::to_string(size) +
                                ", but the factor of this pattern has " +
                                std::to_string(plan->size) + " entries.");
  return plan;
}

EntryMap traced_entry_map(Indices positions, std::int64_t size) {
  for (const Index p : positions)
    if (p >= size)
      throw std::invalid_argument("cholax: position " + std::to_string(p) +
                                  " lies outside a vector of " + std::to_string(size) + ".");
  return {size, {positions.begin(), positions.end()}, {}};
}

Csc traced_csc(Indices indptr, Indices indices, Index rows, Index columns, bool symmetric) {
  check_lower(indptr, indices);
  return {
      rows, columns, symmetric, {indptr.begin(), indptr.end()}, {indices.begin(), indices.end()}};
}

void symbolic(const Plan& plan, Index* indptr, Index* indices, Index* positions) {
  std::vector<Index> places(plan.size);
  lower_pattern(plan, indptr, indices, places.data());
  std::copy(plan.value_position.begin(), plan.value_position.end(), positions);
}

void locate_entries(Indices indptr, Indices indices, Indices out_indptr, Indices out_indices,
                    Index* positions) {
  check_lower(indptr, indices);
  const Index n = static_cast<Index>(indptr.size) - 1;
  if (out_indptr.size != indptr.size || out_indptr[0] != 0 ||
      out_indptr[n] != static_cast<Index>(out_indices.size))
    throw std::invalid_argument(
        "cholax.csc: out_indptr must run from 0 to the number of out entries, over the same "
        "columns.");
  for (Index j = 0; j < n; ++j) {
    if (out_indptr[j + 1] < out_indptr[j] || out_indptr[j + 1] > out_indptr[n])
      throw std::invalid_argument("cholax.csc: out_indptr must not decrease.");
    const Index* first = indices.begin() + indptr[j];
    const Index* last = indices.begin() + indptr[j + 1];
    for (Index p = out_indptr[j]; p < out_indptr[j + 1]; ++p) {
      const Index* found = std::lower_bound(first, last, out_indices[p]);
      if (found == last || *found != out_indices[p])
        throw std::invalid_argument("cholax.csc: entry (" + std::to_string(out_indices[p]) + ", " +
                                    std::to_string(j) +
                                    ") of the out pattern is not in L's pattern.");
      positions[p] = static_cast<Index>(found - indices.begin());
    }
  }
}

}  // namespace cholax::calls
