#include "engine/cuda/upload.h"

#include <algorithm>
#include <cstring>

#include "engine/base/threads.h"

namespace assay::cuda {
namespace {

constexpr int64_t kStagingBytes = 64 * Uploader::kPieceBytes;

}  // namespace

Result<Uploader> Uploader::create() {
  Uploader made;
  ASSAY_ASSIGN(made.stream_, Stream::create());
  for (int i = 0; i < 2; ++i) {
    ASSAY_ASSIGN(made.staging_[i], PinnedBuffer::allocate(kStagingBytes, "staging of weights"));
    ASSAY_ASSIGN(made.sent_[i], Event::create());
  }
  return made;
}

Status Uploader::run(void* to, int64_t bytes, const Fill& fill) {
  for (int64_t sent = 0; sent < bytes; sent += kStagingBytes) {
    const int64_t count = std::min(kStagingBytes, bytes - sent);
    ASSAY_TRY(sent_[next_].synchronize());
    auto* staging = staging_[next_].as<std::byte>();
    parallel_for(static_cast<size_t>((count + kPieceBytes - 1) / kPieceBytes), [&](size_t piece) {
      const int64_t at = static_cast<int64_t>(piece) * kPieceBytes;
      fill(staging + at, sent + at, std::min(kPieceBytes, count - at));
    });
    ASSAY_CUDA(cudaMemcpyAsync(static_cast<std::byte*>(to) + sent, staging, static_cast<size_t>(count),
                               cudaMemcpyHostToDevice, stream_.get()));
    ASSAY_TRY(sent_[next_].record(stream_));
    next_ = 1 - next_;
  }
  return ok_status();
}

Status Uploader::copy(void* to, const void* from, int64_t bytes) {
  return run(to, bytes, [from](std::byte* out, int64_t offset, int64_t count) {
    std::memcpy(out, static_cast<const std::byte*>(from) + offset, static_cast<size_t>(count));
  });
}

}  // namespace assay::cuda
