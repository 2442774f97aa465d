#include "evals/sandbox/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "engine/base/text_util.h"

namespace assay {
namespace {

using Kind = CgroupPlace::Kind;
constexpr const char* kPrefix = "assay-";

std::string read_text(const Path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Status write_text(const Path& path, std::string_view text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written = file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (file >= 0) ::close(file);
  if (written) return ok_status();
  return unavailable(fmt::format("cgroup: write {} to {}: {}", text, path.string(), std::strerror(error)));
}

// "key value" lines: the value of `key`, or -1.
int64_t field_of(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  std::string name;
  int64_t value = 0;
  while (lines >> name >> value) {
    if (name == key) return value;
  }
  return -1;
}

struct Mount {
  std::string root, point, type, options;
};

std::vector<Mount> cgroup_mounts(std::string_view mountinfo) {
  std::vector<Mount> mounts;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    Mount mount;
    words >> word >> word >> word >> mount.root >> mount.point;
    while (words >> word && word != "-") {
    }
    words >> mount.type >> word >> mount.options;
    if (mount.type == "cgroup" || mount.type == "cgroup2") mounts.push_back(mount);
  }
  return mounts;
}

bool has_word(std::string_view list, std::string_view word) {
  std::string padded;
  for (const char c : list) padded += c == ' ' || c == '\n' ? ',' : c;
  return ("," + padded + ",").find("," + std::string(word) + ",") != std::string::npos;
}

// This process's path in the hierarchy with `controller` ("" for v2), relative to the mount.
std::optional<Path> own_folder(const Mount& mount, std::string_view own_cgroups, std::string_view controller) {
  std::istringstream lines{std::string(own_cgroups)};
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? !names.empty() : !has_word(names, controller)) continue;
    std::string path = line.substr(second + 1);
    if (mount.root != "/" && path.rfind(mount.root, 0) == 0) path = path.substr(mount.root.size());
    return Path(mount.point + (path == "/" ? "" : path));
  }
  return std::nullopt;
}

// Sweeps the folders of processes that live no more; one that is still busy stays for the next time.
void sweep(const Path& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    const auto pid = parse_int(name.substr(std::strlen(kPrefix)));
    if (!pid || ::kill(static_cast<pid_t>(*pid), 0) == 0 || errno != ESRCH) continue;
    for (const auto& worker : std::filesystem::directory_iterator(entry.path(), error)) {
      if (worker.is_directory(error)) ::rmdir(worker.path().c_str());
    }
    ::rmdir(entry.path().c_str());
  }
}

// v1 says "busy" for some milliseconds after the last process has gone.
void remove_folder(const Path& folder) {
  for (int i = 0; i < 100 && ::rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

bool can_hold(const Path& folder, std::string_view file) {
  const Path probe = folder / (std::string(kPrefix) + std::to_string(::getpid()));
  if (::mkdir(probe.c_str(), 0755) != 0 && errno != EEXIST) return false;
  return ::access((probe / file).c_str(), W_OK) == 0 && ::access((probe / "cgroup.procs").c_str(), W_OK) == 0;
}

}  // namespace

CgroupPlace find_cgroup_place(std::string_view mountinfo, std::string_view own_cgroups,
                              const std::function<std::string(const Path&)>& v2_controllers) {
  CgroupPlace place;
  place.reason = "no cgroup file system with memory and pids controllers is mounted";
  for (const Mount& mount : cgroup_mounts(mountinfo)) {
    if (mount.type == "cgroup2") {
      // Beside our own group: a group with processes of its own cannot hand controllers to children.
      const auto own = own_folder(mount, own_cgroups, "");
      if (!own) continue;
      for (const Path& folder : {own->parent_path(), *own}) {
        const std::string controllers = v2_controllers(folder);
        if (folder.string().rfind(mount.point, 0) == 0 && has_word(controllers, "memory") &&
            has_word(controllers, "pids"))
          return {Kind::v2, folder, folder, ""};
      }
    } else if (has_word(mount.options, "memory")) {
      place.memory = own_folder(mount, own_cgroups, "memory").value_or(Path());
    } else if (has_word(mount.options, "pids")) {
      place.pids = own_folder(mount, own_cgroups, "pids").value_or(Path());
    }
  }
  if (!place.memory.empty() && !place.pids.empty()) return {Kind::v1, place.memory, place.pids, ""};
  return {Kind::none, "", "", place.reason};
}

Status Cgroup::prepare(int64_t memory_bytes, int max_processes) {
  const bool v2 = kind_ == Kind::v2;
  if (memory_bytes != memory_cap_) {
    const std::string cap = std::to_string(memory_bytes);
    const Path main = memory_ / (v2 ? "memory.max" : "memory.limit_in_bytes");
    const Path swap = memory_ / (v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes");
    // With swap counted in v1, the sum may never lie below the memory cap: growing goes sum first.
    if (!v2 && memory_bytes > memory_cap_ && memory_cap_ > 0 && ::access(swap.c_str(), W_OK) == 0)
      ASSAY_TRY(write_text(swap, cap));
    ASSAY_TRY(write_text(main, cap));
    if (::access(swap.c_str(), W_OK) == 0) ASSAY_TRY(write_text(swap, v2 ? "0" : cap));
    memory_cap_ = memory_bytes;
  }
  if (max_processes != process_cap_) {
    ASSAY_TRY(write_text(pids_ / "pids.max", std::to_string(max_processes)));
    process_cap_ = max_processes;
  }
  if (!v2) ASSAY_TRY(write_text(memory_ / "memory.max_usage_in_bytes", "0"));
  kills_before_ = oom_counter();
  return kills_before_ < 0 ? unavailable("cgroup: no oom_kill counter in " + memory_.string()) : ok_status();
}

Status Cgroup::attach(pid_t pid) {
  ASSAY_TRY(write_text(memory_ / "cgroup.procs", std::to_string(pid)));
  if (pids_ == memory_) return ok_status();
  return write_text(pids_ / "cgroup.procs", std::to_string(pid));
}

int64_t Cgroup::oom_counter() const {
  return field_of(read_text(memory_ / (kind_ == Kind::v2 ? "memory.events" : "memory.oom_control")), "oom_kill");
}

int64_t Cgroup::oom_kills() const {
  const int64_t now = oom_counter();
  return now < 0 ? -1 : now - kills_before_;
}

int64_t Cgroup::peak_bytes() const {
  const std::string text = read_text(memory_ / (kind_ == Kind::v2 ? "memory.peak" : "memory.max_usage_in_bytes"));
  return parse_int(py_strip(text)).value_or(0);
}

Cgroup::~Cgroup() {
  remove_folder(memory_);
  if (pids_ != memory_) remove_folder(pids_);
}

std::unique_ptr<CgroupSpace> CgroupSpace::open(bool use_cgroups) {
  if (!use_cgroups) return std::unique_ptr<CgroupSpace>(new CgroupSpace({Kind::none, "", "", "switched off"}));
  CgroupPlace place =
      find_cgroup_place(read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup"),
                        [](const Path& folder) { return read_text(folder / "cgroup.subtree_control"); });
  const auto space = [&] { return std::unique_ptr<CgroupSpace>(new CgroupSpace(place)); };
  if (place.kind == Kind::none) return space();
  sweep(place.memory);
  if (place.pids != place.memory) sweep(place.pids);
  if (!can_hold(place.memory, "cgroup.procs") || !can_hold(place.pids, "cgroup.procs")) {
    place = {Kind::none, "", "", "no permission to make groups in " + place.memory.string()};
    return space();
  }
  auto made = space();
  const std::string name = kPrefix + std::to_string(::getpid());
  made->memory_ = place.memory / name;
  made->pids_ = place.pids / name;
  if (place.kind == Kind::v2) {
    const Status delegated = write_text(made->memory_ / "cgroup.subtree_control", "+memory +pids");
    if (!delegated.ok()) {
      place = {Kind::none, "", "", delegated.message()};
      return space();
    }
  }
  return made;
}

std::string CgroupSpace::description() const {
  switch (place_.kind) {
    case Kind::v1: return "cgroup v1 (memory, pids)";
    case Kind::v2: return "cgroup v2 (memory, pids)";
    case Kind::none: break;
  }
  return "no cgroup (memory polled)";
}

Result<std::unique_ptr<Cgroup>> CgroupSpace::make(int number) {
  const std::string name = "worker-" + std::to_string(number);
  auto group = std::unique_ptr<Cgroup>(new Cgroup(place_.kind, memory_ / name, pids_ / name));
  for (const Path& folder : {group->memory_, group->pids_}) {
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
      return unavailable(fmt::format("cgroup: mkdir {}: {}", folder.string(), std::strerror(errno)));
  }
  return group;
}

CgroupSpace::~CgroupSpace() {
  if (memory_.empty()) return;
  remove_folder(memory_);
  if (pids_ != memory_) remove_folder(pids_);
}

}  // namespace assay
