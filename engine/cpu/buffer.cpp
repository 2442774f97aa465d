#include "engine/cpu/buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <utility>

namespace assay::cpu {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

Result<Buffer> Buffer::allocate(int64_t bytes, std::string_view what) {
  if (bytes <= 0) return Buffer();
  const auto size = static_cast<size_t>(bytes);
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return out_of_memory(
        fmt::format("{}: {} bytes could not be had; use a smaller model, batch or KV cache", what, bytes));
  }
  if (size >= kHugePage) madvise(data, size, MADV_HUGEPAGE);  // only speed depends on the answer
  return Buffer(static_cast<std::byte*>(data), size);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_) munmap(data_, size_);
}

}  // namespace assay::cpu
