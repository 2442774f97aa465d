#include "engine/base/descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace assay {

using std::filesystem::path;

Status errno_status(int error, const char* action, const path& path) {
  const std::string where = path.string();
  const std::string reason = std::generic_category().message(error);
  if (error == ENOENT || error == ENOTDIR) {
    return not_found(fmt::format("{}: cannot {}: {}; check the path", where, action, reason));
  }
  if (error == EISDIR) {
    return bad_data(
        fmt::format("{}: cannot {}: it is a directory, a file was expected; name a file in it", where, action));
  }
  if (error == ENOSPC || error == EDQUOT) {
    return io_error(fmt::format("{}: cannot {}: {}; free some space and try again", where, action, reason));
  }
  if (error == EACCES || error == EPERM || error == EROFS) {
    return io_error(fmt::format("{}: cannot {}: {}; check the permissions", where, action, reason));
  }
  return io_error(fmt::format("{}: cannot {}: {}", where, action, reason));
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  path_ = std::move(other.path_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Descriptor> Descriptor::open_for_reading(const path& path) {
  // Without O_NONBLOCK the open of a named pipe would wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno_status(errno, "open it", path);
  Descriptor file(fd, path);
  struct stat info = {};
  if (::fstat(fd, &info) != 0) return errno_status(errno, "read its size", path);
  if (S_ISDIR(info.st_mode)) return errno_status(EISDIR, "read it", path);
  if (!S_ISREG(info.st_mode)) {
    return bad_data(
        fmt::format("{}: cannot read it: it is a pipe or a device, a regular file was expected", path.string()));
  }
  return file;
}

Result<Descriptor> Descriptor::create_exclusive(const path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno != EEXIST) return errno_status(errno, "create it", path);
  return Descriptor(fd, path);
}

Result<uint64_t> Descriptor::size_bytes() const {
  struct stat info = {};
  if (::fstat(fd_, &info) != 0) return errno_status(errno, "read its size", path_);
  return static_cast<uint64_t>(info.st_size);
}

Result<size_t> Descriptor::read_some(std::span<std::byte> buffer) {
  for (;;) {
    const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return errno_status(errno, "read it", path_);
  }
}

Status Descriptor::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_status(errno, "write it", path_);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return ok_status();
}

Status Descriptor::sync() {
  if (::fsync(fd_) != 0) return errno_status(errno, "sync it to disk", path_);
  return ok_status();
}

Status Descriptor::close() {
  if (::close(std::exchange(fd_, -1)) != 0) return errno_status(errno, "close it", path_);
  return ok_status();
}

Status sync_directory(const path& directory) {
  const path where = directory.empty() ? path(".") : directory;
  const int fd = ::open(where.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno_status(errno, "open it", where);
  const Descriptor guard(fd, where);
  // Some network and user-space file systems cannot sync a directory and say EINVAL.
  if (::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP) return errno_status(errno, "sync it to disk", where);
  return ok_status();
}

}  // namespace assay
