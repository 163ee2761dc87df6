// Uninitialised, 64-byte aligned scratch memory.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <new>

#include "core/huge_pages.h"

namespace cholax {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) { reserve(size); }
  Buffer(Buffer&& other) noexcept : data_(other.data_), capacity_(other.capacity_) {
    other.data_ = nullptr;
    other.capacity_ = 0;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  // Makes room for `size` elements; contents are lost when it has to grow.
  T* reserve(std::size_t size) {
    if (size > capacity_) {
      std::free(data_);
      const std::size_t bytes = (size * sizeof(T) + 63) / 64 * 64;
      data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
      if (data_ == nullptr) {
        capacity_ = 0;
        throw std::bad_alloc();
      }
      capacity_ = size;
      prefer_huge_pages(data_, bytes);
    }
    return data_;
  }
  T* data() { return data_; }
  void release() {
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
  }

 private:
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace cholax
