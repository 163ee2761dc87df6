#include "ffi/handlers.h"

#include <exception>
#include <functional>
#include <string_view>
#include <utility>

#include "calls/table.h"
#include "core/huge_pages.h"
#include "ffi/portable.h"
#include "ffi/traced.h"

namespace cholax::ffi {

namespace {

// What an executable keeps of its structure: a share in it, nothing else.
struct StructureState {
  static xf::TypeId id;
  std::shared_ptr<const Structure> structure;
};
xf::TypeId StructureState::id = XLA_FFI_UNKNOWN_TYPE_ID;

constexpr XLA_FFI_TypeInfo kStateTypeInfo = xf::MakeTypeInfo<StructureState>();

enum KernelIndex {
#define CHOLAX_KERNEL(name, kernel) k_##name,
#include "calls/kernels.def"
#undef CHOLAX_KERNEL
};

xf::ErrorOr<std::unique_ptr<StructureState>> instantiate(xf::Dictionary attributes) {
  auto digest = attributes.get<std::string_view>("digest");
  if (!digest.has_value()) return xf::Unexpected(digest.error());
  auto structure = StructureRegistry::global().find(*digest);
  if (structure == nullptr && attributes.contains("portable")) {
    try {
      structure = structure_from_attributes(attributes);
    } catch (const std::exception& e) {
      return xf::Unexpected(xf::Error::InvalidArgument(e.what()));
    }
    if (structure != nullptr) structure = StructureRegistry::global().add(*digest, structure);
  }
  if (structure == nullptr)
    return xf::Unexpected(xf::Error::InvalidArgument(
        "cholax: no plan or index map is registered under the digest of this program. It was "
        "compiled in another process: export it with portable=True, which stores the pattern in "
        "the program."));
  auto state = std::make_unique<StructureState>();
  state->structure = std::move(structure);
  return state;
}

std::int64_t fill_slot(const xf::AnyBuffer& buffer, int rank, calls::Slot& slot) {
  const auto dims = buffer.dimensions();
  return calls::fill_slot(buffer.untyped_data(), dims.begin(), static_cast<int>(dims.size()), rank,
                          slot);
}

// Lays out operands (from `first` on) and results, and reads the attributes the kernel declares.
xf::Error lay_out(const calls::Signature& signature, const xf::RemainingArgs& args,
                  const xf::RemainingRets& rets, int first, const xf::Dictionary& attributes,
                  calls::Call& call, xf::DataType& dtype) {
  for (std::size_t i = 0; i < call.in.size(); ++i) {
    auto buffer = args.get<xf::AnyBuffer>(first + i);
    if (!buffer.has_value()) return buffer.error();
    fill_slot(*buffer, signature.operands[i], call.in[i]);
    dtype = buffer->element_type();
  }
  for (std::size_t i = 0; i < call.out.size(); ++i) {
    auto buffer = rets.get<xf::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    call.batch = fill_slot(**buffer, signature.results[i], call.out[i]);
    prefer_huge_pages((**buffer).untyped_data(), (**buffer).size_bytes());
  }
  for (const std::string& name : signature.flags) {
    auto value = attributes.get<bool>(name);
    if (!value.has_value()) return value.error();
    call.set_flag(name, *value);
  }
  for (const std::string& name : signature.lists) {
    auto value = attributes.get<xf::Span<const std::int64_t>>(name);
    if (!value.has_value()) return value.error();
    call.set_list(name, {value->begin(), value->end()});
  }
  if (attributes.contains("linear"))
    call.linear = static_cast<std::uint64_t>(*attributes.get<std::int64_t>("linear"));
  return xf::Error::Success();
}

// XLA's threads, the calling one included. `pool` must outlive the answer.
ThreadSource threads_of(xf::ThreadPool& pool) {
  if (thread_limit() == 1) return {};
  const auto spawn = [](void* context, std::function<void()> work) {
    static_cast<xf::ThreadPool*>(context)->Schedule(std::move(work));
  };
  return {static_cast<int>(pool.num_threads()), spawn, &pool};
}

xf::Error error_of(calls::Status status) {
  switch (status.code) {
    case calls::Status::kOk:
      return xf::Error::Success();
    case calls::Status::kInvalid:
      return xf::Error::InvalidArgument(std::move(status.message));
    case calls::Status::kFailed:
      return xf::Error(xf::ErrorCode::kFailedPrecondition, std::move(status.message));
    case calls::Status::kOutOfMemory:
      return xf::Error(xf::ErrorCode::kResourceExhausted, std::move(status.message));
    default:
      return xf::Error::Internal(std::move(status.message));
  }
}

xf::Error run(const calls::Kernel& kernel, const Structure& structure, const calls::Call& call,
              xf::DataType dtype) {
  switch (dtype) {
    case xf::DataType::F64:
      return error_of(kernel.run(structure, call, calls::ValueType::kDouble));
    case xf::DataType::F32:
      return error_of(kernel.run(structure, call, calls::ValueType::kSingle));
    default:
      return xf::Error::InvalidArgument("cholax: kernels take float32 or float64 values only.");
  }
}

template <int index>
xf::Error execute(StructureState* state, xf::ThreadPool pool, xf::RemainingArgs args,
                  xf::RemainingRets rets, xf::Dictionary attributes) {
  static const calls::Kernel& kernel = calls::kernels()[index];
  calls::Call call(*kernel.signature);
  call.threads = threads_of(pool);
  xf::DataType dtype{};
  const xf::Error error = lay_out(*kernel.signature, args, rets, 0, attributes, call, dtype);
  if (error.failure()) return error;
  return run(kernel, *state->structure, call, dtype);
}

template <int index>
xf::Error execute_dynamic(xf::ThreadPool pool, xf::RemainingArgs args, xf::RemainingRets rets,
                          xf::Dictionary attributes) {
  static const calls::Kernel& kernel = calls::kernels()[index];
  calls::Call call(*kernel.signature);
  call.threads = threads_of(pool);
  xf::DataType dtype{};
  const int first = num_index_operands(kernel.structure);
  const xf::Error error = lay_out(*kernel.signature, args, rets, first, attributes, call, dtype);
  if (error.failure()) return error;
  auto structure = traced_structure(kernel.structure, args, attributes);
  if (!structure.has_value()) return structure.error();
  return run(kernel, *structure, call, dtype);
}

XLA_FFI_Error* call_instantiate(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::BindInstantiate().Attrs().To(instantiate).release();
  return handler->Call(frame);
}

template <int index>
XLA_FFI_Error* call_execute(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::Bind()
                             .Ctx<xf::State<StructureState>>()
                             .Ctx<xf::ThreadPool>()
                             .RemainingArgs()
                             .RemainingRets()
                             .Attrs()
                             .To(execute<index>)
                             .release();
  return handler->Call(frame);
}

template <int index>
XLA_FFI_Error* call_execute_dynamic(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::Bind()
                             .Ctx<xf::ThreadPool>()
                             .RemainingArgs()
                             .RemainingRets()
                             .Attrs()
                             .To(execute_dynamic<index>)
                             .release();
  return handler->Call(frame);
}

XLA_FFI_Error* call_symbolic(XLA_FFI_CallFrame* frame) {
  static auto* handler =
      xf::Ffi::Bind().RemainingArgs().RemainingRets().Attrs().To(symbolic).release();
  return handler->Call(frame);
}

XLA_FFI_Error* call_locate(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::Bind()
                             .Arg<xf::Buffer<xf::S32>>()
                             .Arg<xf::Buffer<xf::S32>>()
                             .Arg<xf::Buffer<xf::S32>>()
                             .Arg<xf::Buffer<xf::S32>>()
                             .Ret<xf::Buffer<xf::S32>>()
                             .To(locate_entries)
                             .release();
  return handler->Call(frame);
}

template <int index>
KernelEntry entry(const char* name) {
  const bool offered = num_index_operands(calls::kernels()[index].structure) > 0;
  return {name, call_execute<index>, offered ? call_execute_dynamic<index> : nullptr};
}

}  // namespace

const std::vector<KernelEntry>& kernels() {
  static const std::vector<KernelEntry> list = {
#define CHOLAX_KERNEL(name, kernel) entry<k_##name>(#name),
#include "calls/kernels.def"
#undef CHOLAX_KERNEL
  };
  return list;
}

const std::vector<IndexEntry>& index_handlers() {
  static const std::vector<IndexEntry> list = {{"symbolic", call_symbolic},
                                               {"locate", call_locate}};
  return list;
}

XLA_FFI_Handler* instantiate_handler() { return call_instantiate; }
XLA_FFI_TypeId* state_type_id() { return &StructureState::id; }
const XLA_FFI_TypeInfo* state_type_info() { return &kStateTypeInfo; }

}  // namespace cholax::ffi
