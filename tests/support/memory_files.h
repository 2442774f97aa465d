#pragma once

#include <climits>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/base/file.h"

namespace assay::testing {

// A file system in memory that can refuse any one of its changes (write_atomic, create_directories, remove_all,
// rename), or all from one on, as a full disk or a power cut would. A refused change leaves everything as it was.
// Thread-safe. The root folder and the current one exist from the start.
class MemoryFiles : public Files {
 public:
  // The k-th change from now on fails with io; 1 is the next one.
  void fail_write(int k) { set_fault(k, k); }
  // The k-th change from now on and all after it fail.
  void fail_from(int k) { set_fault(k, INT_MAX); }
  void never_fail() { set_fault(INT_MAX, INT_MAX); }
  // Changes asked for since the last of the calls above, refused ones included.
  int num_writes() const {
    std::lock_guard lock(mutex_);
    return num_writes_;
  }
  // Whether a fault has struck since then.
  bool failed() const {
    std::lock_guard lock(mutex_);
    return num_writes_ >= first_fault_;
  }
  // Every file's bytes by its path.
  std::map<std::string, std::string> all() const {
    std::lock_guard lock(mutex_);
    return files_;
  }

  Result<std::string> read(const Path& path, size_t max_bytes = size_t{1} << 30) override {
    std::lock_guard lock(mutex_);
    const std::string name = normal(path);
    if (is_directory(name)) return bad_data(name + ": it is a directory, a file was expected");
    const auto file = files_.find(name);
    if (file == files_.end()) return not_found(name + ": no such file");
    if (file->second.size() > max_bytes) return bad_data(name + ": too many bytes");
    return file->second;
  }

  Status write_atomic(const Path& path, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    const std::string name = normal(path);
    ASSAY_TRY(next_change(name));
    if (!is_directory(parent(name))) return not_found(name + ": no such directory");
    if (is_directory(name)) return bad_data(name + ": it is a directory, a file was expected");
    files_[name] = std::string(bytes);
    return ok_status();
  }

  bool exists(const Path& path) override {
    std::lock_guard lock(mutex_);
    return files_.contains(normal(path)) || is_directory(normal(path));
  }

  Status create_directories(const Path& path) override {
    std::lock_guard lock(mutex_);
    std::string name = normal(path);
    ASSAY_TRY(next_change(name));
    for (std::string at = name; !is_directory(at); at = parent(at)) {
      if (files_.contains(at)) return io_error(at + ": it is a file, a directory was expected");
    }
    for (; !is_directory(name); name = parent(name)) directories_.insert(name);
    return ok_status();
  }

  Status remove_all(const Path& path) override {
    std::lock_guard lock(mutex_);
    const std::string name = normal(path);
    ASSAY_TRY(next_change(name));
    files_.erase(name);
    directories_.erase(name);
    std::erase_if(files_, [&](const auto& file) { return file.first.starts_with(name + "/"); });
    std::erase_if(directories_, [&](const auto& directory) { return directory.starts_with(name + "/"); });
    return ok_status();
  }

  Status rename(const Path& from, const Path& to) override {
    std::lock_guard lock(mutex_);
    const std::string old_name = normal(from);
    const std::string new_name = normal(to);
    ASSAY_TRY(next_change(old_name));
    if (!is_directory(parent(new_name))) return not_found(new_name + ": no such directory");
    if (is_directory(old_name)) return rename_directory(old_name, new_name);
    if (!files_.contains(old_name)) return not_found(old_name + ": no such file");
    if (is_directory(new_name)) return bad_data(new_name + ": it is a directory, a file was expected");
    if (old_name == new_name) return ok_status();
    files_[new_name] = std::move(files_[old_name]);
    files_.erase(old_name);
    return ok_status();
  }

  Result<std::vector<std::string>> list(const Path& directory) override {
    std::lock_guard lock(mutex_);
    const std::string name = normal(directory);
    if (!is_directory(name)) return not_found(name + ": no such directory");
    std::set<std::string> names;
    for (const auto& [file, bytes] : files_) {
      if (parent(file) == name) names.insert(Path(file).filename().string());
    }
    for (const std::string& inner : directories_) {
      if (parent(inner) == name) names.insert(Path(inner).filename().string());
    }
    return std::vector<std::string>(names.begin(), names.end());
  }

 private:
  static std::string normal(const Path& path) {
    std::string name = path.lexically_normal().string();
    if (name.size() > 1 && name.back() == '/') name.pop_back();
    return name;
  }
  static std::string parent(const std::string& name) {
    const std::string above = Path(name).parent_path().string();
    return above.empty() ? "." : above;
  }
  bool is_directory(const std::string& name) const { return name == "/" || name == "." || directories_.contains(name); }

  void set_fault(int first, int last) {
    std::lock_guard lock(mutex_);
    num_writes_ = 0;
    first_fault_ = first;
    last_fault_ = last;
  }

  Status next_change(const std::string& name) {
    ++num_writes_;
    if (num_writes_ < first_fault_ || num_writes_ > last_fault_) return ok_status();
    return io_error(name + ": the write was refused, as the test asked");
  }

  bool is_empty_directory(const std::string& name) const {
    const std::string inside = name + "/";
    const auto file = files_.lower_bound(inside);
    const auto directory = directories_.lower_bound(inside);
    return !(file != files_.end() && file->first.starts_with(inside)) &&
           !(directory != directories_.end() && directory->starts_with(inside));
  }

  Status rename_directory(const std::string& from, const std::string& to) {
    if (files_.contains(to)) return io_error(to + ": it is a file, a directory was expected");
    if (from == to) return ok_status();
    if (to.starts_with(from + "/")) return io_error(to + ": it lies inside " + from);
    if (is_directory(to) && !is_empty_directory(to)) return io_error(to + ": the directory is not empty");
    const auto moved = [&](const std::string& name) { return to + name.substr(from.size()); };
    std::map<std::string, std::string> files;
    for (auto& [name, bytes] : files_) files[name.starts_with(from + "/") ? moved(name) : name] = std::move(bytes);
    std::set<std::string> directories;
    for (const std::string& name : directories_) {
      directories.insert(name == from || name.starts_with(from + "/") ? moved(name) : name);
    }
    files_ = std::move(files);
    directories_ = std::move(directories);
    return ok_status();
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::string> files_;
  std::set<std::string> directories_;
  int num_writes_ = 0;
  int first_fault_ = INT_MAX;
  int last_fault_ = INT_MAX;
};

}  // namespace assay::testing
