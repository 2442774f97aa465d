#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

#include "engine/base/status.h"

namespace assay {

// An open POSIX file descriptor, closed with its owner. Private to base. Move-only; not thread-safe.
// Errors of every call name the path: not_found, bad_data (not a regular file), io.
class Descriptor {
 public:
  // Opens an existing regular file for reading.
  static Result<Descriptor> open_for_reading(const std::filesystem::path& path);
  // Creates a file for writing; a closed descriptor (is_open() false) when there is one of that name already.
  static Result<Descriptor> create_exclusive(const std::filesystem::path& path);
  // Takes over an open descriptor.
  Descriptor(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}

  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

  Result<uint64_t> size_bytes() const;
  // Reads up to `buffer.size()` bytes; 0 only at the end of the file.
  Result<size_t> read_some(std::span<std::byte> buffer);
  Status write_all(std::span<const std::byte> bytes);
  Status sync();
  Status close();  // reports what the destructor cannot

 private:
  int fd_ = -1;
  std::filesystem::path path_;
};

// Makes renames and creations in a directory last through a power cut.
Status sync_directory(const std::filesystem::path& directory);

// `action` failed on `path` with this errno: not_found for a missing file or folder, bad_data for a directory where a
// file was meant, io for the rest.
Status errno_status(int error, const char* action, const std::filesystem::path& path);

}  // namespace assay
