#include "evals/sandbox/sandbox.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "evals/sandbox/embedded.h"
#include "evals/sandbox/frame.h"
#include "evals/sandbox/self_test.h"
#include "evals/sandbox/worker_pool.h"

namespace assay {
namespace {

constexpr int kAttempts = 3;  // a failure of ours is tried twice more before it is reported as one

// SHA-256 over the relative names and bytes of the standard library's code, in sorted order.
Result<std::string> library_digest(const Path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string ending = it->path().extension().string();
    if ((ending == ".py" || ending == ".so") && it->is_regular_file(error))
      names.push_back(std::filesystem::relative(it->path(), folder).string());
  }
  if (error) return io_error("sandbox: " + folder.string() + ": " + error.message());
  std::sort(names.begin(), names.end());
  Sha256 digest;
  for (const std::string& name : names) {
    ASSAY_ASSIGN(const MappedFile file, MappedFile::open(folder / name));
    digest.update(fmt::format("{}\n{}\n", name, file.size()));
    digest.update(file.bytes());
  }
  return digest.finish_hex();
}

// Read once a process: a library must not change under a run.
Result<std::string> remembered_digest(const std::string& folder) {
  static std::mutex mutex;
  static std::map<std::string, std::string> digests;
  const std::lock_guard lock(mutex);
  if (const auto found = digests.find(folder); found != digests.end()) return found->second;
  ASSAY_ASSIGN(std::string digest, library_digest(folder));
  return digests[folder] = digest;
}

Result<InterpreterInfo> read_info(const std::string& text) {
  ASSAY_ASSIGN(const Json json, Json::parse(text, "launch host"));
  const JsonField field(json, "launch host");
  InterpreterInfo info;
  ASSAY_ASSIGN(info.path, field.get_string("path"));
  ASSAY_ASSIGN(info.version, field.get_string("version"));
  ASSAY_ASSIGN(const std::string library, field.get_string("stdlib"));
  ASSAY_ASSIGN(info.sha256, sha256_file(info.path));
  ASSAY_ASSIGN(info.library_sha256, remembered_digest(library));
  return info;
}

bool was_ready(ProgramProcess& process) {
  const auto frame = process.take_frame();
  return frame && !frame->empty() && (*frame)[0] == 'R';
}

class RealSandbox final : public Sandbox {
 public:
  RealSandbox(const SandboxOptions& options, LaunchSetup setup)
      : options_(options),
        setup_(std::move(setup)),
        cgroups_(CgroupSpace::open(options.use_cgroups && !options.no_sandbox)) {
    options_.num_workers = options.num_workers > 0 ? options.num_workers : available_cpus();
    pool_ = std::make_unique<WorkerPool>(setup_, *cgroups_, options_.num_workers);
    isolation_ = describe();
  }

  Status prove() {
    std::string info;
    {
      ASSAY_ASSIGN(const auto lease, pool_->lease(1, false));
      ASSAY_ASSIGN(info, lease->worker(0).info());
    }
    ASSAY_ASSIGN(interpreter_, read_info(info));
    return options_.self_test && !options_.no_sandbox ? run_self_test(*this) : ok_status();
  }

  ProgramResult run(const ProgramRequest& request) override {
    ProgramResult result;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      result = run_once(request);
      if (result.verdict != Verdict::infra) break;
    }
    return result;
  }

  WorkerPool& workers() override { return *pool_; }
  const std::string& isolation() const override { return isolation_; }
  const InterpreterInfo& interpreter() const override { return interpreter_; }
  const SandboxOptions& options() const override { return options_; }
  int num_workers() const override { return options_.num_workers; }

 private:
  std::string describe() const {
    const std::string mode = options_.mode == LaunchMode::warm ? "warm" : "cold";
    if (options_.no_sandbox) return "NONE (--no-sandbox); " + mode;
    return fmt::format("user+pid+mount+net+ipc+uts+cgroup ns, root, seccomp, landlock {}, rlimits, {}; {}",
                       setup_.hello.landlock_abi, cgroups_->description(), mode);
  }

  ProgramResult run_once(const ProgramRequest& request) {
    ProgramResult result;
    const auto lease = pool_->lease(1, false);
    if (!lease.ok()) {
      result.detail = lease.status().message();
      return result;
    }
    constexpr size_t kReadyBytes = 64;
    const auto started = (*lease)->worker(0).start(request.limits, true, kReadyBytes);
    if (!started.ok()) {
      result.detail = started.status().message();
      return result;
    }
    ProgramProcess& process = **started;
    process.send(make_frame('P', Value::bytes(request.program)));
    process.close_requests();
    const ProgramEnd& end = process.finish();
    const bool ready = was_ready(process);
    result.verdict = ready || end.stopped ? end.verdict(request.limits) : Verdict::infra;
    result.detail = ready || end.stopped ? end.describe() : "the interpreter did not start: " + end.describe();
    result.exit_code = end.exit_code;
    result.signal = end.signal;
    result.out = process.out();
    result.err = process.err();
    result.wall_s = end.wall_s;
    result.cpu_s = end.cpu_s;
    result.kill_ms = end.kill_ms;
    result.peak_memory_bytes = end.peak_memory_bytes;
    return result;
  }

  SandboxOptions options_;
  LaunchSetup setup_;
  std::unique_ptr<CgroupSpace> cgroups_;
  std::unique_ptr<WorkerPool> pool_;
  std::string isolation_;
  InterpreterInfo interpreter_;
};

}  // namespace

Result<std::unique_ptr<Sandbox>> Sandbox::open(const SandboxOptions& options) {
  signal(SIGPIPE, SIG_IGN);  // a program may close its end at any moment; the write then fails and is seen
  ASSAY_ASSIGN(LaunchSetup setup, LaunchSetup::make(options));
  auto sandbox = std::make_unique<RealSandbox>(options, std::move(setup));
  ASSAY_TRY(sandbox->prove());
  return std::unique_ptr<Sandbox>(std::move(sandbox));
}

void Sandbox::run_batch(std::span<const ProgramRequest> requests,
                        const std::function<void(size_t, const ProgramResult&)>& done) {
  std::mutex mutex;
  parallel_for(
      requests.size(),
      [&](size_t i) {
        const ProgramResult result = run(requests[i]);
        const std::lock_guard lock(mutex);
        done(i, result);
      },
      num_workers());
}

std::vector<std::string> layer_names() {
  std::vector<std::string> names(std::begin(child::kLayerNames) + 1, std::end(child::kLayerNames));
  names.pop_back();  // "launch" is no layer
  return names;
}

}  // namespace assay
