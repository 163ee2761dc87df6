// Large arrays on huge pages: the first write to each page costs a fault, and a factor of 500 MB
// has 122 000 small pages, which take as long as a tenth of the factorisation.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace cholax {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Asks for huge pages inside [data, data + bytes); a hint, without effect where there are none.
inline void prefer_huge_pages(void* data, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes < 4 * kHugePage) return;
  const auto begin =
      (reinterpret_cast<std::uintptr_t>(data) + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) / kHugePage * kHugePage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data;
  (void)bytes;
#endif
}

}  // namespace cholax
