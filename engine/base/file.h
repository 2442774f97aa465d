#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace assay {

using Path = std::filesystem::path;

// A file's bytes mapped read-only. Move-only; the bytes stay at one address for the mapping's life; readable from any
// thread. If another process truncates the file while it is mapped the kernel raises SIGBUS: checkpoints must not
// change under a run.
class MappedFile {
 public:
  // Errors: not_found, io; a directory is bad_data.
  static Result<MappedFile> open(const Path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  size_t size() const { return size_; }
  const Path& path() const { return path_; }
  // Tells the kernel that [offset, offset + length) will not be read again soon, so that it may leave memory.
  void drop(size_t offset, size_t length) const;

 private:
  MappedFile(Path path, const std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  Path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The seam to the file system, so that tests can make the k-th write fail. Thread-safe.
class Files {
 public:
  virtual ~Files() = default;
  // The whole file; bad_data when it is larger than max_bytes.
  virtual Result<std::string> read(const Path& path, size_t max_bytes = size_t{1} << 30) = 0;
  // Writes a temporary file beside `path`, syncs it, renames it over `path`: readers see the old bytes or the new ones.
  virtual Status write_atomic(const Path& path, std::string_view bytes) = 0;
  virtual bool exists(const Path& path) = 0;
  virtual Status create_directories(const Path& path) = 0;
  virtual Status remove_all(const Path& path) = 0;
  // Atomic within one file system; replaces an existing file or empty directory.
  virtual Status rename(const Path& from, const Path& to) = 0;
  // Names (not paths) in a directory, sorted.
  virtual Result<std::vector<std::string>> list(const Path& directory) = 0;
};

// The operating system's files.
Files& real_files();

// Writes a large file piece by piece under a temporary name; it appears under its final name only by commit().
// Destroying it before commit removes the temporary file. Not thread-safe.
class AtomicFileWriter {
 public:
  static Result<AtomicFileWriter> create(const Path& path);
  AtomicFileWriter(AtomicFileWriter&& other) noexcept;
  AtomicFileWriter& operator=(AtomicFileWriter&& other) noexcept;
  ~AtomicFileWriter();

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  Status commit();  // syncs and renames
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  AtomicFileWriter(Path path, Path temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  Path path_;
  Path temporary_;
  int fd_ = -1;
  uint64_t bytes_written_ = 0;
};

// The XDG folders of Assay, moved as one by ASSAY_HOME; nothing is created.
Path cache_directory();  // $ASSAY_HOME/cache, $XDG_CACHE_HOME/assay, ~/.cache/assay
Path data_directory();   // $ASSAY_HOME/data,  $XDG_DATA_HOME/assay,  ~/.local/share/assay

}  // namespace assay
