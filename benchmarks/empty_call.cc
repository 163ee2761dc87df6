// An FFI handler that does nothing: the floor under the cost of any custom call.
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

static ffi::Error empty(ffi::RemainingArgs, ffi::RemainingRets) { return ffi::Error::Success(); }

XLA_FFI_DEFINE_HANDLER_SYMBOL(EmptyCall, empty, ffi::Ffi::Bind().RemainingArgs().RemainingRets());
