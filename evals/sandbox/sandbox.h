#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "evals/sandbox/verdict.h"

namespace assay {

// What one program may use. CPU time is the main limit, because a loaded machine does not change it; wall time is the
// safety net for programs that sleep.
struct SandboxLimits {
  double cpu_s = 5;
  double wall_s = 15;
  int64_t memory_bytes = int64_t{1} << 30;  // of the whole process tree
  int64_t output_bytes = 64 << 10;          // of stdout and of stderr, each
  int64_t file_bytes = 16 << 20;            // one file
  int64_t folder_bytes = 32 << 20;          // its private folder, a tmpfs
  int folder_inodes = 2048;
  int max_processes = 48;  // threads included
  int max_open_files = 64;
};

// warm: forked from a prepared interpreter that runs no program itself; cold: a new interpreter each time. Both get
// fresh namespaces, and their verdicts are equal.
enum class LaunchMode : uint8_t { warm, cold };

struct SandboxOptions {
  std::string interpreter;  // absolute path; empty: /usr/bin/python3, links resolved. PATH is never searched
  LaunchMode mode = LaunchMode::warm;
  int num_workers = 0;      // programs at once; 0: as many as cores
  bool use_cgroups = true;  // false: as on a machine without them
  bool no_sandbox = false;  // --no-sandbox: no isolation at all; isolation() says so
  bool self_test = true;    // eight probe programs must end exactly as they should
  std::string fault;        // tests: the layer (layer_names) whose set-up shall fail
};

class WorkerPool;

// One layer of isolation on this machine.
struct SandboxLayer {
  std::string name;  // "user", "pid", "mount", "net", "ipc", "uts", "cgroup-ns", "root", "seccomp", "landlock", ...
  bool available = false;
  bool required = true;
  std::string detail;  // what was found, and what to do where it is missing
};

// The interpreter every program of a sandbox runs in: part of a score's provenance.
struct InterpreterInfo {
  std::string path;            // links resolved
  std::string version;         // "CPython 3.11.2"
  std::string sha256;          // of the binary
  std::string library_sha256;  // of the names and bytes of its standard library's .py and .so files
};

// One program without tests, as `assay sandbox run` runs it.
struct ProgramRequest {
  std::string program;  // Python source
  SandboxLimits limits;
};

struct ProgramResult {
  Verdict verdict = Verdict::infra;
  int exit_code = 0;     // where the program ended by itself
  int signal = 0;        // where a signal ended it
  std::string out, err;  // raw bytes up to the cap; whoever shows them escapes them
  std::string detail;    // one line: why; empty for pass
  double wall_s = 0, cpu_s = 0;
  double kill_ms = 0;  // from the decision to kill until nothing of the program was left; 0 where it ended itself
  int64_t peak_memory_bytes = 0;  // where the kernel tells; else 0
};

// Runs untrusted Python programs, each in namespaces of its own: no network, no host file, no other process, bounded
// time, memory, files and output. Thread-safe; one instance serves a whole run.
//   auto sandbox = Sandbox::open({});                      // refuses where a layer cannot be set up and verified
//   ProgramResult result = (*sandbox)->run({"print(1)", {}});
class Sandbox {
 public:
  // Sets up the launcher and proves it: every required layer, then the self-test. Errors: unavailable naming the layer,
  // the cause and the remedy; nothing weaker is ever chosen silently.
  static Result<std::unique_ptr<Sandbox>> open(const SandboxOptions& options);
  virtual ~Sandbox() = default;

  // Runs one program to its end; blocks. Never fails: what goes wrong on our side is Verdict::infra after two retries.
  virtual ProgramResult run(const ProgramRequest& request) = 0;

  // Runs all on the sandbox's workers; done(i, result) is called as each ends, from one thread at a time.
  void run_batch(std::span<const ProgramRequest> requests,
                 const std::function<void(size_t, const ProgramResult&)>& done);

  // One line stored with every score: "user+pid+mount+net+ipc+uts+cgroup ns, root, seccomp, landlock 7, rlimits,
  // cgroup v1 (memory, pids); warm", or "NONE (--no-sandbox)".
  virtual const std::string& isolation() const = 0;
  virtual const InterpreterInfo& interpreter() const = 0;
  virtual const SandboxOptions& options() const = 0;
  virtual int num_workers() const = 0;
  virtual WorkerPool& workers() = 0;  // for the grader
};

// Every layer as this machine has it, found by trying; for `assay doctor`. Never fails: a missing layer is a row.
std::vector<SandboxLayer> probe_layers(const SandboxOptions& options = {});
// Layers that SandboxOptions::fault can break.
std::vector<std::string> layer_names();

}  // namespace assay
