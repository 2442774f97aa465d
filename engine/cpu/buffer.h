#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/status.h"

namespace assay::cpu {

// Zeroed memory of its own pages, 64-byte aligned, on huge pages where the kernel gives them. Pages take memory only
// once they are touched. Move-only.
class Buffer {
 public:
  // Errors: out_of_memory, saying what the bytes were for.
  static Result<Buffer> allocate(int64_t bytes, std::string_view what);

  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  int64_t bytes() const { return static_cast<int64_t>(size_); }

 private:
  Buffer(std::byte* data, size_t size) : data_(data), size_(size) {}
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace assay::cpu
