#pragma once

#include <cstdint>

// What passes between Assay, the launch host (an interpreter with our library in it), pid 1 and pid 2 of a run. All on
// one machine, one build: plain structs over SOCK_SEQPACKET.
namespace assay::child {

// The layers of isolation, by the names that `assay doctor` and faults use.
enum class Layer : uint32_t {
  none,
  user,
  pid,
  mount,
  net,
  ipc,
  uts,
  cgroup_ns,
  root,
  proc,
  folder,
  capabilities,
  no_new_privs,
  rlimits,
  landlock,
  seccomp,
  cgroup,
  verify,
  launch,
};
inline constexpr const char* kLayerNames[] = {
    "none",   "user",         "pid",          "mount",   "net",      "ipc",     "uts",    "cgroup-ns", "root",  "proc",
    "folder", "capabilities", "no-new-privs", "rlimits", "landlock", "seccomp", "cgroup", "verify",    "launch"};
inline constexpr uint32_t kNumLayers = sizeof(kLayerNames) / sizeof(kLayerNames[0]);

inline constexpr uint32_t kMaxFilterInstructions = 2048;

// First message to a host. The seccomp program follows: num_instructions * 8 bytes.
struct Hello {
  int64_t drop_to_uid = -1;  // -1: stay who we are
  uint32_t isolate = 1;      // 0: --no-sandbox
  uint32_t landlock_abi = 0;
  Layer fault = Layer::none;  // this layer's set-up fails ...
  uint32_t fault_skips = 0;   // ... or, with 1, is left out without a word: verification must notice
  uint32_t num_instructions = 0;
};

// The host's answer; where ok, a line of text about the interpreter follows.
struct HelloReply {
  Layer failed = Layer::none;
  int32_t error = 0;
};

// One run. File descriptors come with it: status, requests (read end), answers (write end) and, with keep_output,
// stdout and stderr (write ends).
struct RunRequest {
  uint32_t cold = 0;
  uint32_t keep_output = 0;
  uint64_t address_space_bytes = 0;
  uint64_t stack_bytes = 0;
  uint64_t file_bytes = 0;
  uint64_t folder_bytes = 0;
  uint64_t folder_inodes = 0;
  uint64_t max_processes = 0;
  uint64_t max_open_files = 0;
  uint64_t cpu_s = 0;
};

// The host's answer to RunRequest; a pidfd of pid 1 comes with it where pid > 0.
struct RunReply {
  int32_t pid = 0;
  Layer failed = Layer::none;
  int32_t error = 0;
};

// Notes on a run's status socket. Only after `armed` does Assay send the program.
struct Note {
  enum class Kind : uint32_t { armed, failed, ended } kind = Kind::armed;
  Layer layer = Layer::none;
  int32_t error = 0;
  int32_t wait_status = 0;
  int64_t cpu_us = 0;
  int64_t max_rss_kib = 0;
};

// Descriptors of a running program besides 0, 1, 2.
inline constexpr int kRequestsFd = 3;
inline constexpr int kAnswersFd = 4;

inline constexpr uint32_t kInsideId = 65534;  // uid and gid of every program, inside

}  // namespace assay::child
