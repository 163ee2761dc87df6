#include "ffi/traced.h"

#include <exception>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <variant>

#include "calls/traced.h"

namespace cholax::ffi {

namespace {

using calls::Indices;

enum Kind : std::size_t { kPlan, kEntryMap, kTriples, kCsc };  // the alternatives of Structure

template <std::size_t kind>
using Alternative = std::variant_alternative_t<kind, Structure>;
static_assert(std::is_same_v<Alternative<kPlan>, std::shared_ptr<const Plan>>);
static_assert(std::is_same_v<Alternative<kEntryMap>, EntryMap>);
static_assert(std::is_same_v<Alternative<kCsc>, Csc>);

struct Malformed : std::runtime_error {
  Malformed() : std::runtime_error("cholax.csc: malformed dynamic call.") {}
};

Indices indices_of(const xf::RemainingArgs& args, std::size_t place) {
  auto buffer = args.get<xf::AnyBuffer>(place);
  if (!buffer.has_value()) throw Malformed();
  return {static_cast<const Index*>(buffer->untyped_data()), buffer->element_count()};
}

Indices indices_of(const xf::Buffer<xf::S32>& buffer) {
  return {buffer.typed_data(), buffer.element_count()};
}

template <class T>
T attribute(const xf::Dictionary& attributes, std::string_view name) {
  auto value = attributes.get<T>(name);
  if (!value.has_value()) throw Malformed();
  return *value;
}

std::shared_ptr<const Plan> plan_of(const xf::RemainingArgs& args, const xf::Dictionary& d) {
  return calls::traced_plan(indices_of(args, 0), indices_of(args, 1),
                            attribute<std::int64_t>(d, "size"), attribute<bool>(d, "is_factor"));
}

Structure structure_of(std::size_t kind, const xf::RemainingArgs& args, const xf::Dictionary& d) {
  switch (kind) {
    case kPlan:
      return plan_of(args, d);
    case kEntryMap:
      return calls::traced_entry_map(indices_of(args, 0), attribute<std::int64_t>(d, "size"));
    case kCsc:
      return calls::traced_csc(indices_of(args, 0), indices_of(args, 1),
                               static_cast<Index>(attribute<std::int64_t>(d, "rows")),
                               static_cast<Index>(attribute<std::int64_t>(d, "columns")),
                               attribute<bool>(d, "symmetric"));
    default:
      throw Malformed();
  }
}

// Runs what may throw.
template <class F>
xf::Error guarded(F&& work) {
  try {
    work();
  } catch (const Malformed& e) {
    return xf::Error::Internal(e.what());
  } catch (const std::exception& e) {
    return xf::Error::InvalidArgument(e.what());
  }
  return xf::Error::Success();
}

}  // namespace

int num_index_operands(std::size_t kind) {
  switch (kind) {
    case kPlan:
    case kCsc:
      return 2;
    case kEntryMap:
      return 1;
    default:
      return 0;
  }
}

xf::ErrorOr<Structure> traced_structure(std::size_t kind, const xf::RemainingArgs& args,
                                        const xf::Dictionary& attributes) {
  Structure structure;
  const xf::Error error = guarded([&] { structure = structure_of(kind, args, attributes); });
  if (error.failure()) return xf::Unexpected(error);
  return structure;
}

xf::Error symbolic(xf::RemainingArgs args, xf::RemainingRets rets, xf::Dictionary attributes) {
  return guarded([&] {
    const auto plan = plan_of(args, attributes);
    Index* out[3];
    for (int i = 0; i < 3; ++i) {
      auto buffer = rets.get<xf::AnyBuffer>(i);
      if (!buffer.has_value()) throw Malformed();
      out[i] = static_cast<Index*>((**buffer).untyped_data());
    }
    calls::symbolic(*plan, out[0], out[1], out[2]);
  });
}

xf::Error locate_entries(xf::Buffer<xf::S32> indptr, xf::Buffer<xf::S32> indices,
                         xf::Buffer<xf::S32> out_indptr, xf::Buffer<xf::S32> out_indices,
                         xf::Result<xf::Buffer<xf::S32>> positions) {
  return guarded([&] {
    calls::locate_entries(indices_of(indptr), indices_of(indices), indices_of(out_indptr),
                          indices_of(out_indices), positions->typed_data());
  });
}

}  // namespace cholax::ffi
