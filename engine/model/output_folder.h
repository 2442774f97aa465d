#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "engine/base/file.h"
#include "engine/base/status.h"

namespace assay {

// A checkpoint folder in the making: files are written into a hidden sibling, which takes the final name at commit().
// Destroying it before that removes what was written. Move-only; not thread-safe.
class OutputFolder {
 public:
  // Errors: invalid_argument when `out` exists and is not an empty folder; io when it cannot be created or when the
  // file system has less than `bytes_needed` left.
  static Result<OutputFolder> create(const Path& out, int64_t bytes_needed);

  OutputFolder(OutputFolder&& other) noexcept
      : out_(std::move(other.out_)), temporary_(std::exchange(other.temporary_, Path())) {}
  OutputFolder& operator=(OutputFolder&&) = delete;
  ~OutputFolder();

  const Path& path() const { return temporary_; }  // where to write
  Status commit();

 private:
  OutputFolder(Path out, Path temporary) : out_(std::move(out)), temporary_(std::move(temporary)) {}
  Path out_;
  Path temporary_;  // empty after commit
};

}  // namespace assay
