#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "evals/sandbox/cgroup.h"
#include "evals/sandbox/child/protocol.h"
#include "evals/sandbox/fd.h"
#include "evals/sandbox/sandbox.h"

namespace assay {

// What every launch host of a sandbox is started with.
struct LaunchSetup {
  std::string interpreter;
  LaunchMode mode = LaunchMode::warm;
  child::Hello hello;
  std::vector<uint64_t> filter;

  // Everything this machine offers: the user to become, Landlock's version, the filter. Errors: unavailable naming
  // the layer.
  static Result<LaunchSetup> make(const SandboxOptions& options);
};

// Landlock's interface version of this kernel, 0 where it has none.
int landlock_abi();

// A process tree that waits for its program: every layer set up and verified.
struct Launched {
  pid_t pid = 0;  // of its pid 1, as this process sees it
  Fd pidfd, status, requests, answers, out, err;
};

// The pinned interpreter with the launcher library in it, forking one process tree a run. Not thread-safe.
class LaunchHost {
 public:
  // The host is moved into `cgroup` (nullptr: none), and so every run is born there: moving one costs more than making
  // it. Errors: unavailable naming the layer and the remedy.
  static Result<std::unique_ptr<LaunchHost>> start(const LaunchSetup& setup, Cgroup* cgroup);
  ~LaunchHost();
  LaunchHost(const LaunchHost&) = delete;
  LaunchHost& operator=(const LaunchHost&) = delete;

  // Starts one run and returns once it is armed. No program byte has been sent yet, so
  // a failure means that nothing untrusted ever ran. Errors: unavailable naming the layer.
  Result<Launched> launch(const SandboxLimits& limits, bool keep_output);

  const std::string& info() const { return info_; }  // JSON: path, version, stdlib, paths
  int num_launches() const { return num_launches_; }

 private:
  LaunchHost(const LaunchSetup& setup, Cgroup* cgroup, pid_t pid, Fd socket, Fd errors)
      : cold_(setup.mode == LaunchMode::cold),
        cgroup_(cgroup),
        pid_(pid),
        socket_(std::move(socket)),
        errors_(std::move(errors)) {}
  Status greet(const LaunchSetup& setup);
  Status arm(Launched& run);
  std::string last_words() const;
  bool cold_;
  Cgroup* cgroup_;
  pid_t pid_;
  Fd socket_, errors_;
  std::string info_;
  int num_launches_ = 0;
};

}  // namespace assay
