#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"

namespace assay {

// Where the kernel's control groups can hold this process's children, if anywhere.
struct CgroupPlace {
  enum class Kind : uint8_t { none, v1, v2 } kind = Kind::none;
  Path memory, pids;   // v1: the two hierarchies' folders of this process; v2: both the same
  std::string reason;  // none: why
};

// Reads the texts of /proc/self/mountinfo and /proc/self/cgroup. Touches no file; v2 wins where it has both controllers
// for the folder's children (`v2_controllers` answers with the text of a folder's cgroup.subtree_control).
CgroupPlace find_cgroup_place(std::string_view mountinfo, std::string_view own_cgroups,
                              const std::function<std::string(const Path&)>& v2_controllers);

// The group of one worker: caps the memory and the number of processes of whatever run is in it, and counts kills.
// Used by one run at a time. Its folders are removed with it.
class Cgroup {
 public:
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  // Caps for the next run. Errors: unavailable naming file and errno.
  Status prepare(int64_t memory_bytes, int max_processes);
  Status attach(pid_t pid);
  // Kills by the out-of-memory killer since prepare(); -1 where the counter cannot be read.
  int64_t oom_kills() const;
  int64_t peak_bytes() const;  // 0 where the kernel does not say

 private:
  friend class CgroupSpace;
  Cgroup(CgroupPlace::Kind kind, Path memory, Path pids)
      : kind_(kind), memory_(std::move(memory)), pids_(std::move(pids)) {}
  int64_t oom_counter() const;
  CgroupPlace::Kind kind_;
  Path memory_, pids_;
  int64_t memory_cap_ = -1, kills_before_ = 0;
  int process_cap_ = -1;
};

// This process's own folder in the hierarchies, with one Cgroup a worker. Leftovers of dead Assays are swept.
class CgroupSpace {
 public:
  // A space of kind none (with the reason) where groups cannot be used; never an error.
  static std::unique_ptr<CgroupSpace> open(bool use_cgroups);
  ~CgroupSpace();

  CgroupPlace::Kind kind() const { return place_.kind; }
  const std::string& reason() const { return place_.reason; }
  // "cgroup v1 (memory, pids)", "no cgroup (limits and polling)".
  std::string description() const;
  Result<std::unique_ptr<Cgroup>> make(int number);

 private:
  explicit CgroupSpace(CgroupPlace place) : place_(std::move(place)) {}
  CgroupPlace place_;
  Path memory_, pids_;  // our folders
};

}  // namespace assay
