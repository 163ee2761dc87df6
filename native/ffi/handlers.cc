#include "ffi/handlers.h"

#include <atomic>
#include <exception>
#include <functional>
#include <new>
#include <string_view>

#include "core/huge_pages.h"
#include "ffi/adjoint.h"
#include "ffi/dynamic.h"
#include "ffi/kernels.h"
#include "ffi/portable.h"

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
#include "ffi/kernels.def"
#undef CHOLAX_KERNEL
  kNumKernels
};

std::atomic<std::uint64_t> counts[kNumKernels];

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

// Lays out operands (from `first` on) and results; an error where batches disagree.
xf::Error lay_out(const Signature& signature, const xf::RemainingArgs& args,
                  const xf::RemainingRets& rets, int first, const xf::Dictionary& attributes,
                  Call& call, xf::DataType& dtype) {
  call.batch = 1;
  for (int i = 0; i < signature.num_operands; ++i) {
    auto buffer = args.get<xf::AnyBuffer>(first + i);
    if (!buffer.has_value()) return buffer.error();
    fill_slot(*buffer, signature.operands[i], call.in[i]);
    dtype = buffer->element_type();
  }
  for (int i = 0; i < signature.num_results; ++i) {
    auto buffer = rets.get<xf::AnyBuffer>(i);
    if (!buffer.has_value()) return buffer.error();
    call.batch = fill_slot(**buffer, signature.results[i], call.out[i]);
    prefer_huge_pages((**buffer).untyped_data(), (**buffer).size_bytes());
  }
  if (attributes.contains("flag")) call.flag = *attributes.get<bool>("flag");
  if (attributes.contains("roles")) {
    auto roles = attributes.get<xf::Span<const std::int64_t>>("roles");
    for (int i = 0; i < 3; ++i) call.roles[i] = static_cast<int>((*roles)[i]);
  }
  if (attributes.contains("linear"))
    call.linear = static_cast<unsigned>(*attributes.get<std::int64_t>("linear"));
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

template <class Kernel, class T>
xf::Error run_as(const typename Kernel::Structure& structure, const Call& call) {
  if (call.linear != 0) return run_adjoint<Kernel, T>(structure, call);
  return Kernel::template run<T>(structure, call);
}

// Chooses the dtype and runs the kernel; no exception leaves.
template <class Kernel>
xf::Error run(const typename Kernel::Structure& structure, const Call& call, xf::DataType dtype) {
  try {
    switch (dtype) {
      case xf::DataType::F64:
        return run_as<Kernel, double>(structure, call);
      case xf::DataType::F32:
        return run_as<Kernel, float>(structure, call);
      default:
        return xf::Error::InvalidArgument("cholax: kernels take float32 or float64 values only.");
    }
  } catch (const std::bad_alloc&) {
    return xf::Error(xf::ErrorCode::kResourceExhausted, "cholax: out of memory in a kernel.");
  } catch (const std::exception& e) {
    return xf::Error::Internal(e.what());
  }
}

template <class Kernel, int index>
xf::Error execute(StructureState* state, xf::ThreadPool pool, xf::RemainingArgs args,
                  xf::RemainingRets rets, xf::Dictionary attributes) {
  Call call;
  call.threads = threads_of(pool);
  xf::DataType dtype{};
  xf::Error error = lay_out(Kernel::signature, args, rets, 0, attributes, call, dtype);
  if (error.failure()) return error;
  counts[index].fetch_add(1, std::memory_order_relaxed);
  return run<Kernel>(std::get<typename Kernel::Structure>(*state->structure), call, dtype);
}

template <class Kernel, int index>
xf::Error execute_dynamic(xf::ThreadPool pool, xf::RemainingArgs args, xf::RemainingRets rets,
                          xf::Dictionary attributes) {
  using Source = DynamicStructure<typename Kernel::Structure>;
  Call call;
  call.threads = threads_of(pool);
  xf::DataType dtype{};
  xf::Error error =
      lay_out(Kernel::signature, args, rets, Source::num_operands, attributes, call, dtype);
  if (error.failure()) return error;
  counts[index].fetch_add(1, std::memory_order_relaxed);
  auto structure = Source::make(args, attributes);
  if (!structure.has_value()) return structure.error();
  return run<Kernel>(*structure, call, dtype);
}

XLA_FFI_Error* call_instantiate(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::BindInstantiate().Attrs().To(instantiate).release();
  return handler->Call(frame);
}

template <class Kernel, int index>
XLA_FFI_Error* call_execute(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::Bind()
                             .Ctx<xf::State<StructureState>>()
                             .Ctx<xf::ThreadPool>()
                             .RemainingArgs()
                             .RemainingRets()
                             .Attrs()
                             .To(execute<Kernel, index>)
                             .release();
  return handler->Call(frame);
}

template <class Kernel, int index>
XLA_FFI_Error* call_execute_dynamic(XLA_FFI_CallFrame* frame) {
  static auto* handler = xf::Ffi::Bind()
                             .Ctx<xf::ThreadPool>()
                             .RemainingArgs()
                             .RemainingRets()
                             .Attrs()
                             .To(execute_dynamic<Kernel, index>)
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

template <class Kernel, int index>
KernelEntry entry(const char* name) {
  XLA_FFI_Handler* dynamic = nullptr;
  if constexpr (DynamicStructure<typename Kernel::Structure>::offered)
    dynamic = call_execute_dynamic<Kernel, index>;
  return {name, call_execute<Kernel, index>, dynamic};
}

}  // namespace

const std::vector<KernelEntry>& kernels() {
  static const std::vector<KernelEntry> list = {
#define CHOLAX_KERNEL(name, kernel) entry<kernel, k_##name>(#name),
#include "ffi/kernels.def"
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

std::vector<std::uint64_t> call_counts() {
  std::vector<std::uint64_t> out;
  for (const auto& count : counts) out.push_back(count.load(std::memory_order_relaxed));
  return out;
}

}  // namespace cholax::ffi
