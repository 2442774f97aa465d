#include "engine/base/file.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "engine/base/check.h"
#include "engine/base/descriptor.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

Status refuse_size(const Path& path, uint64_t size, size_t max_bytes) {
  return bad_data(fmt::format("{}: holds {} bytes, at most {} were expected; is it the right file?", path.string(),
                              size, max_bytes));
}

// The file may grow while it is read, so the bound is checked again on what really came.
Result<std::string> read_file(const Path& path, size_t max_bytes) {
  ASSAY_ASSIGN(Descriptor file, Descriptor::open_for_reading(path));
  ASSAY_ASSIGN(const uint64_t size, file.size_bytes());
  if (size > max_bytes) return refuse_size(path, size, max_bytes);
  std::string bytes(static_cast<size_t>(size), '\0');
  size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) bytes.resize(bytes.size() + 4096);
    ASSAY_ASSIGN(const size_t count,
                 file.read_some(std::as_writable_bytes(std::span(bytes.data() + filled, bytes.size() - filled))));
    if (count == 0) break;
    filled += count;
    if (filled > max_bytes) return refuse_size(path, filled, max_bytes);
  }
  bytes.resize(filled);
  return bytes;
}

class RealFiles : public Files {
 public:
  Result<std::string> read(const Path& path, size_t max_bytes) override {
    try {
      return read_file(path, max_bytes);
    } catch (const std::bad_alloc&) {
      return out_of_memory(fmt::format("{}: no memory for the file's bytes", path.string()));
    }
  }

  Status write_atomic(const Path& path, std::string_view bytes) override {
    ASSAY_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(path));
    ASSAY_TRY(writer.write(bytes));
    return writer.commit();
  }

  bool exists(const Path& path) override {
    std::error_code error;
    return fs::exists(path, error);
  }

  Status create_directories(const Path& path) override {
    std::error_code error;
    fs::create_directories(path, error);
    if (!error) return ok_status();
    return io_error(fmt::format("{}: cannot create the directory: {}", path.string(), error.message()));
  }

  Status remove_all(const Path& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    if (!error) return ok_status();
    return io_error(fmt::format("{}: cannot remove it: {}", path.string(), error.message()));
  }

  Status rename(const Path& from, const Path& to) override {
    if (std::rename(from.c_str(), to.c_str()) != 0) {
      const int error = errno;
      return errno_status(error, fmt::format("rename it to {}", to.string()).c_str(), from);
    }
    return sync_directory(to.parent_path());
  }

  Result<std::vector<std::string>> list(const Path& directory) override {
    std::error_code error;
    fs::directory_iterator entry(directory, error);
    if (error) return errno_status(error.value(), "list it", directory);
    std::vector<std::string> names;
    for (; entry != fs::directory_iterator(); entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    if (error) return errno_status(error.value(), "list it", directory);
    std::sort(names.begin(), names.end());
    return names;
  }
};

// Hidden, short whatever the final name's length, and unlike any other writer's.
Path temporary_beside(const Path& path) {
  static std::atomic<uint64_t> counter{0};
  return path.parent_path() / fmt::format(".assay-{}-{}.tmp", ::getpid(), counter.fetch_add(1));
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Path home_directory() {
  if (const std::string home = environment("HOME"); !home.empty()) return home;
  std::array<char, 4096> buffer;
  passwd entry = {};
  passwd* found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found) return found->pw_dir;
  return ".";
}

// The XDG rules: a relative path in the variable counts as not set.
Path user_directory(const char* name, const char* xdg_variable, const char* below_home) {
  if (const std::string assay_home = environment("ASSAY_HOME"); !assay_home.empty()) return Path(assay_home) / name;
  if (const Path xdg = environment(xdg_variable); xdg.is_absolute()) return xdg / "assay";
  return home_directory() / below_home / "assay";
}

}  // namespace

Result<MappedFile> MappedFile::open(const Path& path) {
  ASSAY_ASSIGN(const Descriptor file, Descriptor::open_for_reading(path));
  ASSAY_ASSIGN(const uint64_t size, file.size_bytes());
  if (size == 0) return MappedFile(path, nullptr, 0);  // the kernel maps no empty range
  void* data = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (data == MAP_FAILED) return errno_status(errno, "map it into memory", path);
  return MappedFile(path, static_cast<const std::byte*>(data), static_cast<size_t>(size));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop(size_t offset, size_t length) const {
  if (offset >= size_) return;
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t end = offset + std::min(length, size_ - offset);
  // Only whole pages, so that a neighbor's bytes stay; the file's last page counts as whole.
  const size_t first = (offset + page - 1) / page * page;
  const size_t last = end == size_ ? end : end / page * page;
  if (first < last) ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

Files& real_files() {
  static RealFiles files;
  return files;
}

Result<AtomicFileWriter> AtomicFileWriter::create(const Path& path) {
  if (!path.has_filename()) {
    return invalid_argument(fmt::format("{}: cannot write it: the path names no file", path.string()));
  }
  // A crashed process with the same id may have left its temporary files behind.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const Path temporary = temporary_beside(path);
    ASSAY_ASSIGN(Descriptor file, Descriptor::create_exclusive(temporary));
    if (file.is_open()) return AtomicFileWriter(path, temporary, file.release());
  }
  return io_error(
      fmt::format("{}: cannot write it: its folder is full of old .assay-*.tmp files; remove them", path.string()));
}

AtomicFileWriter::AtomicFileWriter(AtomicFileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      bytes_written_(other.bytes_written_) {}

AtomicFileWriter& AtomicFileWriter::operator=(AtomicFileWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  std::swap(bytes_written_, other.bytes_written_);
  return *this;
}

AtomicFileWriter::~AtomicFileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Status AtomicFileWriter::write(std::span<const std::byte> bytes) {
  ASSAY_CHECK(fd_ >= 0);
  Descriptor file(fd_, path_);
  const Status status = file.write_all(bytes);
  file.release();
  if (status.ok()) bytes_written_ += bytes.size();
  return status;
}

Status AtomicFileWriter::commit() {
  ASSAY_CHECK(fd_ >= 0);
  Descriptor file(std::exchange(fd_, -1), path_);
  Status status = file.sync();
  if (status.ok()) status = file.close();
  if (status.ok() && std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    status = errno_status(errno, "put the finished file in its place", path_);
  }
  if (!status.ok()) {
    ::unlink(temporary_.c_str());
    return status;
  }
  return sync_directory(path_.parent_path());
}

Path cache_directory() { return user_directory("cache", "XDG_CACHE_HOME", ".cache"); }
Path data_directory() { return user_directory("data", "XDG_DATA_HOME", ".local/share"); }

}  // namespace assay
