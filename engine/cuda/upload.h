#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/base/status.h"
#include "engine/cuda/device.h"

namespace assay::cuda {

// Brings large arrays to the device through two page-locked buffers: while one is on its way, all processors fill the
// other. Finished when finish() returns.
class Uploader {
 public:
  static Result<Uploader> create();

  // Bytes [0, bytes) of `to` become what fill(out, offset, count) writes for [offset, offset + count); fill is called
  // from several threads, for pieces that begin at multiples of kPieceBytes.
  static constexpr int64_t kPieceBytes = int64_t{1} << 20;
  using Fill = std::function<void(std::byte* out, int64_t offset, int64_t count)>;
  Status run(void* to, int64_t bytes, const Fill& fill);
  Status copy(void* to, const void* from, int64_t bytes);

  // A new buffer with these values.
  template <class T>
  Result<DeviceBuffer> upload(const std::vector<T>& values, std::string_view what) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    ASSAY_ASSIGN(DeviceBuffer made, DeviceBuffer::allocate(bytes, what));
    ASSAY_TRY(copy(made.data(), values.data(), bytes));
    return made;
  }

  Status finish() const { return stream_.synchronize(); }
  cudaStream_t stream() const { return stream_.get(); }

 private:
  Stream stream_;
  PinnedBuffer staging_[2];
  Event sent_[2];
  int next_ = 0;
};

}  // namespace assay::cuda
