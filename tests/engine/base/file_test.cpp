#include "engine/base/file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "tests/support/memory_files.h"
#include "tests/support/temp_folder.h"

namespace assay {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

// A fresh folder, removed with everything in it.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "assay-file-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Path operator/(const char* name) const { return path_ / name; }
  const Path& path() const { return path_; }
  Names names() const { return *real_files().list(path_); }

 private:
  Path path_;
};

// Sets an environment variable, or unsets it with nullptr, until the scope is left.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    apply(value);
  }
  ~ScopedVariable() { apply(old_ ? old_->c_str() : nullptr); }

 private:
  void apply(const char* value) { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
  const char* name_;
  std::optional<std::string> old_;
};

void write_plain(const Path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

TEST_CASE("a mapped file shows the bytes of the file") {
  const TempFolder folder;
  write_plain(folder / "a", std::string("one\0two", 7));
  const Result<MappedFile> file = MappedFile::open(folder / "a");
  REQUIRE(file.ok());
  CHECK(file->text() == std::string_view("one\0two", 7));
  CHECK(file->size() == 7);
  CHECK(file->bytes().size() == 7);
  CHECK(file->path() == folder / "a");
}

TEST_CASE("an empty file maps to no bytes") {
  const TempFolder folder;
  write_plain(folder / "empty", "");
  const Result<MappedFile> file = MappedFile::open(folder / "empty");
  REQUIRE(file.ok());
  CHECK(file->text().empty());
  file->drop(0, 10);
}

TEST_CASE("a mapping keeps its address when it is moved and outlives the file's name") {
  const TempFolder folder;
  write_plain(folder / "a", "first");
  write_plain(folder / "b", "second");
  MappedFile a = *MappedFile::open(folder / "a");
  const std::byte* address = a.bytes().data();
  MappedFile moved = std::move(a);
  CHECK(moved.bytes().data() == address);
  MappedFile b = *MappedFile::open(folder / "b");
  b = std::move(moved);
  fs::remove(folder / "a");
  CHECK(b.text() == "first");
}

TEST_CASE("dropped pages read back the same") {
  const TempFolder folder;
  std::string bytes(50'000, ' ');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31);
  write_plain(folder / "a", bytes);
  const MappedFile file = *MappedFile::open(folder / "a");
  CHECK(file.text() == bytes);
  file.drop(0, SIZE_MAX);
  file.drop(5000, 20'000);
  file.drop(49'999, 1);
  file.drop(50'000, 1);
  file.drop(SIZE_MAX, SIZE_MAX);
  CHECK(file.text() == bytes);
}

TEST_CASE("what cannot be mapped or read is refused with its path") {
  const TempFolder folder;
  write_plain(folder / "plain", "x");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const struct {
    Path path;
    Code code;
  } cases[] = {{folder / "missing", Code::not_found},
               {folder / "plain" / "below", Code::not_found},
               {folder.path(), Code::bad_data},
               {folder / "pipe", Code::bad_data},
               {"/dev/null", Code::bad_data}};
  for (const auto& c : cases) {
    CAPTURE(c.path);
    const Status mapped = MappedFile::open(c.path).status();
    const Status read = real_files().read(c.path).status();
    CHECK(mapped.code() == c.code);
    CHECK(read.code() == c.code);
    CHECK(mapped.message().find(c.path.string() + ": ") == 0);
    CHECK(read.message().find(c.path.string() + ": ") == 0);
  }
}

TEST_CASE("a file is read whole, up to the bound") {
  const TempFolder folder;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{100'000}}) {
    const std::string bytes(size, 'r');
    write_plain(folder / "a", bytes);
    CHECK(*real_files().read(folder / "a", size) == bytes);
    if (size > 0) CHECK(real_files().read(folder / "a", size - 1).status().code() == Code::bad_data);
  }
}

TEST_CASE("a file of the kernel, whose size is not known, is read to its end") {
  const Result<std::string> text = real_files().read("/proc/self/status");
  REQUIRE(text.ok());
  CHECK(text->find("Name:") == 0);
  CHECK(real_files().read("/proc/self/status", 10).status().code() == Code::bad_data);
}

TEST_CASE("an atomic write leaves the new bytes and nothing else") {
  const TempFolder folder;
  REQUIRE(real_files().write_atomic(folder / "a", "old").ok());
  REQUIRE(real_files().write_atomic(folder / "a", "new").ok());
  CHECK(*real_files().read(folder / "a") == "new");
  CHECK(folder.names() == Names{"a"});
}

TEST_CASE("an atomic write may use a name of the longest length, and one without a folder") {
  const TempFolder folder;
  const std::string longest(255, 'n');
  CHECK(real_files().write_atomic(folder.path() / longest, "x").ok());
  CHECK(folder.names() == Names{longest});
  const Path here = fs::current_path();
  fs::current_path(folder.path());
  CHECK(real_files().write_atomic("bare", "x").ok());
  CHECK(real_files().rename("bare", "renamed").ok());
  fs::current_path(here);
  CHECK(*real_files().read(folder / "renamed") == "x");
}

TEST_CASE("a write that cannot be finished leaves no file behind") {
  const TempFolder folder;
  fs::create_directory(folder / "taken");
  write_plain(folder / "taken" / "inside", "x");
  CHECK_FALSE(real_files().write_atomic(folder / "taken", "bytes").ok());
  CHECK(folder.names() == Names{"taken"});
  CHECK(real_files().write_atomic(folder / "no-folder" / "a", "x").code() == Code::not_found);
  CHECK(real_files().write_atomic(folder.path() / "", "x").code() == Code::invalid_argument);
}

TEST_CASE("a full disk keeps the old file and removes the unfinished one") {
  const TempFolder folder;
  REQUIRE(real_files().write_atomic(folder / "a", "old").ok());
  rlimit saved = {};
  ::getrlimit(RLIMIT_FSIZE, &saved);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {1000, saved.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const Status status = real_files().write_atomic(folder / "a", std::string(5000, 'x'));
  ::setrlimit(RLIMIT_FSIZE, &saved);
  std::signal(SIGXFSZ, old_handler);
  CHECK(status.code() == Code::io);
  CHECK(*real_files().read(folder / "a") == "old");
  CHECK(folder.names() == Names{"a"});
}

TEST_CASE("a file written in pieces appears only by commit") {
  const TempFolder folder;
  AtomicFileWriter writer = *AtomicFileWriter::create(folder / "big");
  REQUIRE(writer.write("hello ").ok());
  CHECK_FALSE(real_files().exists(folder / "big"));
  AtomicFileWriter moved = std::move(writer);
  REQUIRE(moved.write("world").ok());
  CHECK(moved.bytes_written() == 11);
  REQUIRE(moved.commit().ok());
  CHECK(*real_files().read(folder / "big") == "hello world");
  CHECK(folder.names() == Names{"big"});
}

TEST_CASE("a writer that goes away before commit takes its file with it") {
  const TempFolder folder;
  {
    AtomicFileWriter first = *AtomicFileWriter::create(folder / "a");
    AtomicFileWriter second = *AtomicFileWriter::create(folder / "a");
    REQUIRE(first.write("1").ok());
    REQUIRE(second.write("2").ok());
    CHECK(folder.names().size() == 2);
    second = std::move(first);
  }
  CHECK(folder.names().empty());
}

TEST_CASE("folders are made, listed, renamed and removed") {
  const TempFolder folder;
  Files& files = real_files();
  REQUIRE(files.create_directories(folder / "x" / "y").ok());
  REQUIRE(files.create_directories(folder / "x" / "y").ok());
  REQUIRE(files.create_directories(folder / "x" / "z/").ok());
  REQUIRE(files.write_atomic(folder / "x" / "b", "1").ok());
  REQUIRE(files.write_atomic(folder / "x" / "a", "2").ok());
  CHECK(*files.list(folder / "x") == Names{"a", "b", "y", "z"});
  REQUIRE(files.rename(folder / "x", folder / "w").ok());
  CHECK_FALSE(files.exists(folder / "x"));
  CHECK(files.exists(folder / "w" / "a"));
  CHECK(files.rename(folder / "gone", folder / "v").code() == Code::not_found);
  CHECK(files.list(folder / "gone").status().code() == Code::not_found);
  CHECK(files.create_directories(folder / "w" / "a" / "sub").code() == Code::io);
  REQUIRE(files.remove_all(folder / "w").ok());
  REQUIRE(files.remove_all(folder / "w").ok());
  CHECK(folder.names().empty());
}

TEST_CASE("ASSAY_HOME moves both folders, then XDG, then the home folder decides") {
  const ScopedVariable home("HOME", "/home/ada");
  const ScopedVariable xdg_cache("XDG_CACHE_HOME", "/xdg/cache");
  const ScopedVariable xdg_data("XDG_DATA_HOME", "relative/is/ignored");
  {
    const ScopedVariable assay_home("ASSAY_HOME", "/a");
    CHECK(cache_directory() == "/a/cache");
    CHECK(data_directory() == "/a/data");
  }
  const ScopedVariable assay_home("ASSAY_HOME", nullptr);
  CHECK(cache_directory() == "/xdg/cache/assay");
  CHECK(data_directory() == "/home/ada/.local/share/assay");
  const ScopedVariable no_home("HOME", nullptr);
  CHECK(data_directory().filename() == "assay");
}

TEST_CASE("files in memory behave as the real ones do") {
  testing::MemoryFiles memory;
  const TempFolder folder;
  for (Files* files : {static_cast<Files*>(&memory), &real_files()}) {
    const Path root = files == &memory ? Path("/m") : folder / "m";
    CHECK(files->write_atomic(root / "a", "x").code() == Code::not_found);
    REQUIRE(files->create_directories(root / "d" / "e").ok());
    REQUIRE(files->write_atomic(root / "a", "1").ok());
    REQUIRE(files->write_atomic(root / "d" / "b", "22").ok());
    CHECK(*files->list(root) == Names{"a", "d"});
    CHECK(*files->read(root / "d" / ".." / "a") == "1");
    CHECK(files->read(root / "d" / "b", 1).status().code() == Code::bad_data);
    CHECK(files->read(root / "d").status().code() == Code::bad_data);
    CHECK(files->read(root / "c").status().code() == Code::not_found);
    CHECK(files->create_directories(root / "a" / "x").code() == Code::io);
    CHECK_FALSE(files->rename(root / "d", root / "a").ok());
    REQUIRE(files->create_directories(root / "full").ok());
    REQUIRE(files->write_atomic(root / "full" / "f", "").ok());
    CHECK_FALSE(files->rename(root / "d", root / "full").ok());
    REQUIRE(files->rename(root / "d", root / "n").ok());
    CHECK(*files->read(root / "n" / "b") == "22");
    CHECK(files->exists(root / "n" / "e"));
    CHECK_FALSE(files->exists(root / "d"));
    REQUIRE(files->rename(root / "a", root / "n" / "b").ok());
    CHECK(*files->read(root / "n" / "b") == "1");
    REQUIRE(files->remove_all(root / "n").ok());
    REQUIRE(files->remove_all(root / "n").ok());
    CHECK(*files->list(root) == Names{"full"});
  }
}

TEST_CASE("files in memory fail at the change they were told to") {
  testing::MemoryFiles files;
  files.fail_write(2);
  CHECK(files.write_atomic("a", "1").ok());
  CHECK_FALSE(files.failed());
  CHECK(files.write_atomic("a", "2").code() == Code::io);
  CHECK(files.failed());
  CHECK(*files.read("a") == "1");
  CHECK(files.write_atomic("a", "3").ok());
  CHECK(files.num_writes() == 3);
  files.fail_from(1);
  CHECK(files.remove_all("a").code() == Code::io);
  CHECK(files.rename("a", "b").code() == Code::io);
  CHECK(files.create_directories("c").code() == Code::io);
  files.never_fail();
  CHECK(files.rename("a", "b").ok());
  CHECK(files.all() == std::map<std::string, std::string>{{"b", "3"}});
}

}  // namespace
}  // namespace assay
