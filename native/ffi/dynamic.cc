#include "ffi/dynamic.h"

#include <list>
#include <mutex>
#include <stdexcept>
#include <string>

#include "symbolic/plan_queries.h"

namespace cholax::ffi {

namespace {

using Indices = xf::Span<const Index>;

Indices indices_of(const xf::AnyBuffer& buffer) {
  return {static_cast<const Index*>(buffer.untyped_data()), buffer.element_count()};
}

// Throws unless (indptr, indices) is a sorted lower-triangular CSC pattern with full diagonal.
void check_lower(const Indices& indptr, const Indices& indices) {
  const Index n = static_cast<Index>(indptr.size()) - 1;
  if (n < 0 || indptr[0] != 0 || indptr[n] != static_cast<Index>(indices.size()))
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
        if (entry.is_factor == is_factor && Indices(entry.indptr) == indptr &&
            Indices(entry.indices) == indices)
          return entry.plan;
    }
    check_lower(indptr, indices);
    const Index n = static_cast<Index>(indptr.size()) - 1;
    AnalyseOptions options;
    options.postorder = false;
    options.supernodal = false;
    auto plan = is_factor ? plan_from_factor(n, indptr.begin(), indices.begin())
                          : analyse(n, indptr.begin(), indices.begin(), nullptr, options);
    std::lock_guard<std::mutex> lock(mutex_);
    entries_.push_front(
        {is_factor, {indptr.begin(), indptr.end()}, {indices.begin(), indices.end()}, plan});
    if (entries_.size() > kCapacity) entries_.pop_back();
    return plan;
  }

 private:
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

xf::ErrorOr<std::shared_ptr<const Plan>> DynamicStructure<std::shared_ptr<const Plan>>::make(
    const xf::RemainingArgs& args, const xf::Dictionary& attributes) {
  static RecentPlans recent;
  auto indptr = args.get<xf::AnyBuffer>(0);
  auto indices = args.get<xf::AnyBuffer>(1);
  auto size = attributes.get<std::int64_t>("size");
  auto is_factor = attributes.get<bool>("is_factor");
  if (!indptr || !indices || !size || !is_factor)
    return xf::Unexpected(xf::Error::Internal("cholax.csc: malformed dynamic call."));
  try {
    auto plan = recent.get(*is_factor, indices_of(*indptr), indices_of(*indices));
    if (plan->size != *size)
      throw std::invalid_argument("cholax.csc: L_nse = " + std::to_string(*size) +
                                  ", but the factor of this pattern has " +
                                  std::to_string(plan->size) + " entries.");
    return plan;
  } catch (const std::exception& e) {
    return xf::Unexpected(xf::Error::InvalidArgument(e.what()));
  }
}

xf::ErrorOr<EntryMap> DynamicStructure<EntryMap>::make(const xf::RemainingArgs& args,
                                                       const xf::Dictionary& attributes) {
  auto positions = args.get<xf::AnyBuffer>(0);
  auto size = attributes.get<std::int64_t>("size");
  if (!positions || !size)
    return xf::Unexpected(xf::Error::Internal("cholax.csc: malformed dynamic call."));
  const Indices span = indices_of(*positions);
  for (const Index p : span)
    if (p >= *size)
      return xf::Unexpected(xf::Error::InvalidArgument("cholax: position " + std::to_string(p) +
                                                       " lies outside a vector of " +
                                                       std::to_string(*size) + "."));
  return EntryMap{*size, {span.begin(), span.end()}, {}};
}

xf::ErrorOr<Csc> DynamicStructure<Csc>::make(const xf::RemainingArgs& args,
                                             const xf::Dictionary& attributes) {
  auto indptr = args.get<xf::AnyBuffer>(0);
  auto indices = args.get<xf::AnyBuffer>(1);
  auto rows = attributes.get<std::int64_t>("rows");
  auto columns = attributes.get<std::int64_t>("columns");
  auto symmetric = attributes.get<bool>("symmetric");
  if (!indptr || !indices || !rows || !columns || !symmetric)
    return xf::Unexpected(xf::Error::Internal("cholax.csc: malformed dynamic call."));
  const Indices pointers = indices_of(*indptr), entries = indices_of(*indices);
  try {
    check_lower(pointers, entries);
  } catch (const std::exception& e) {
    return xf::Unexpected(xf::Error::InvalidArgument(e.what()));
  }
  return Csc{static_cast<Index>(*rows),
             static_cast<Index>(*columns),
             *symmetric,
             {pointers.begin(), pointers.end()},
             {entries.begin(), entries.end()}};
}

xf::Error symbolic(xf::RemainingArgs args, xf::RemainingRets rets, xf::Dictionary attributes) {
  auto plan = DynamicStructure<std::shared_ptr<const Plan>>::make(args, attributes);
  if (!plan.has_value()) return plan.error();
  const Plan& p = **plan;
  Index* out[3];
  for (int i = 0; i < 3; ++i) {
    auto buffer = rets.get<xf::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    out[i] = static_cast<Index*>((**buffer).untyped_data());
  }
  std::vector<Index> positions(p.size);
  try {
    lower_pattern(p, out[0], out[1], positions.data());
  } catch (const std::exception& e) {
    return xf::Error::Internal(e.what());
  }
  std::copy(p.value_position.begin(), p.value_position.end(), out[2]);
  return xf::Error::Success();
}

xf::Error locate_entries(xf::Buffer<xf::S32> indptr, xf::Buffer<xf::S32> indices,
                         xf::Buffer<xf::S32> out_indptr, xf::Buffer<xf::S32> out_indices,
                         xf::Result<xf::Buffer<xf::S32>> positions) {
  const Indices pointers(indptr.typed_data(), indptr.element_count());
  const Indices entries(indices.typed_data(), indices.element_count());
  const Indices out_pointers(out_indptr.typed_data(), out_indptr.element_count());
  const Indices out_entries(out_indices.typed_data(), out_indices.element_count());
  Index* out = positions->typed_data();
  const Index n = static_cast<Index>(pointers.size()) - 1;
  try {
    check_lower(pointers, entries);
    if (out_pointers.size() != pointers.size() || out_pointers[0] != 0 ||
        out_pointers[n] != static_cast<Index>(out_entries.size()))
      throw std::invalid_argument(
          "cholax.csc: out_indptr must run from 0 to the number of out entries, over the same "
          "columns.");
    for (Index j = 0; j < n; ++j) {
      if (out_pointers[j + 1] < out_pointers[j] || out_pointers[j + 1] > out_pointers[n])
        throw std::invalid_argument("cholax.csc: out_indptr must not decrease.");
      const Index* first = entries.begin() + pointers[j];
      const Index* last = entries.begin() + pointers[j + 1];
      for (Index p = out_pointers[j]; p < out_pointers[j + 1]; ++p) {
        const Index* found = std::lower_bound(first, last, out_entries[p]);
        if (found == last || *found != out_entries[p])
          throw std::invalid_argument("cholax.csc: entry (" + std::to_string(out_entries[p]) +
                                      ", " + std::to_string(j) +
                                      ") of the out pattern is not in L's pattern.");
        out[p] = static_cast<Index>(found - entries.begin());
      }
    }
  } catch (const std::exception& e) {
    return xf::Error::InvalidArgument(e.what());
  }
  return xf::Error::Success();
}

}  // namespace cholax::ffi
