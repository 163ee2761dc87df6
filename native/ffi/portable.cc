#include "ffi/portable.h"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace cholax::ffi {

namespace {

namespace xf = ::xla::ffi;

template <class T>
T read(const xf::Dictionary& attributes, std::string_view name) {
  auto value = attributes.get<T>(name);
  if (!value.has_value())
    throw std::invalid_argument("cholax: a portable program lacks the attribute " +
                                std::string(name) + ": " + value.error().message());
  return *value;
}

template <class T>
std::vector<T> read_vector(const xf::Dictionary& attributes, std::string_view name) {
  const auto span = read<xf::Span<const T>>(attributes, name);
  return std::vector<T>(span.begin(), span.end());
}

std::shared_ptr<const Plan> rebuilt_plan(const xf::Dictionary& d) {
  const auto indptr = read_vector<std::int32_t>(d, "indptr");
  const auto indices = read_vector<std::int32_t>(d, "indices");
  const Index n = static_cast<Index>(indptr.size()) - 1;
  if (read<bool>(d, "is_factor")) return plan_from_factor(n, indptr.data(), indices.data());
  const auto perm = read_vector<std::int32_t>(d, "perm");
  AnalyzeOptions options;
  options.postorder = read<bool>(d, "postorder");
  options.supernodal = read<bool>(d, "supernodal");
  return analyze(n, indptr.data(), indices.data(), perm.data(), options);
}

// The program's arrays have the sizes of the plan it was exported with.
std::shared_ptr<const Structure> read_plan(const xf::Dictionary& d) {
  auto plan = rebuilt_plan(d);
  if (plan->size != read<std::int64_t>(d, "factor_size"))
    throw std::invalid_argument(
        "cholax: this program was exported by a version of cholax that lays out factors "
        "differently; export it again with this version.");
  return std::make_shared<Structure>(std::move(plan));
}

EntryMap read_entry_map(const xf::Dictionary& d) {
  return {read<std::int64_t>(d, "size"), read_vector<std::int32_t>(d, "positions"),
          read_vector<double>(d, "weights")};
}

Triples read_triples(const xf::Dictionary& d) {
  Triples triples;
  const auto sizes = read<xf::Span<const std::int64_t>>(d, "sizes");
  for (int i = 0; i < 3; ++i) triples.sizes[i] = sizes[i];
  triples.index[0] = read_vector<std::int32_t>(d, "left");
  triples.index[1] = read_vector<std::int32_t>(d, "right");
  triples.index[2] = read_vector<std::int32_t>(d, "out");
  return triples;
}

Csc read_csc(const xf::Dictionary& d) {
  Csc csc;
  csc.rows = static_cast<std::int32_t>(read<std::int64_t>(d, "rows"));
  csc.columns = static_cast<std::int32_t>(read<std::int64_t>(d, "columns"));
  csc.symmetric = read<bool>(d, "symmetric");
  csc.indptr = read_vector<std::int32_t>(d, "indptr");
  csc.indices = read_vector<std::int32_t>(d, "indices");
  return csc;
}

}  // namespace

std::shared_ptr<const Structure> structure_from_attributes(xf::Dictionary attributes) {
  const auto d = read<xf::Dictionary>(attributes, "portable");
  const auto kind = read<std::string_view>(d, "kind");
  if (kind == "llt") return read_plan(d);
  if (kind == "entry_map") return std::make_shared<Structure>(read_entry_map(d));
  if (kind == "triples") return std::make_shared<Structure>(read_triples(d));
  if (kind == "csc") return std::make_shared<Structure>(read_csc(d));
  throw std::invalid_argument("cholax: unknown structure kind " + std::string(kind));
}

}  // namespace cholax::ffi
