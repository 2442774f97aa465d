#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "evals/sandbox/cgroup.h"
#include "evals/sandbox/launcher.h"
#include "evals/sandbox/program_process.h"

namespace assay {

// One launch host and its control group: serves one run at a time.
class Worker {
 public:
  Worker(const LaunchSetup& setup, std::unique_ptr<Cgroup> cgroup) : setup_(setup), cgroup_(std::move(cgroup)) {}

  // A program ready to be sent its text. A host that has served long, or that failed, is replaced by a fresh one.
  // Errors: unavailable naming the layer.
  Result<std::unique_ptr<ProgramProcess>> start(const SandboxLimits& limits, bool keep_output, size_t max_frame_bytes);
  // Starts the host if there is none: its JSON about the interpreter.
  Result<std::string> info();

 private:
  Status ensure_host();
  const LaunchSetup& setup_;
  std::unique_ptr<Cgroup> cgroup_;
  std::unique_ptr<LaunchHost> host_;
};

// Hands out workers: at most `num_runs` leases at once, of one worker or two (candidate and checker). A lease taken
// alone waits until no other is out, and keeps others waiting: for reruns whose timing must not be disturbed. Of those
// as many are out at once as have four processors each; up to seven processors, one. Thread-safe.
class WorkerPool {
 public:
  WorkerPool(const LaunchSetup& setup, CgroupSpace& cgroups, int num_runs);

  class Lease {
   public:
    Lease(WorkerPool& pool, std::vector<std::unique_ptr<Worker>> workers, bool alone)
        : pool_(pool), workers_(std::move(workers)), alone_(alone) {}
    ~Lease() { pool_.give_back(std::move(workers_), alone_); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Worker& worker(size_t i) { return *workers_[i]; }

   private:
    WorkerPool& pool_;
    std::vector<std::unique_ptr<Worker>> workers_;
    bool alone_;
  };

  // Blocks until there is room. Errors: unavailable (no control group can be made).
  Result<std::unique_ptr<Lease>> lease(size_t num_workers, bool alone);
  int num_runs() const { return num_runs_; }

 private:
  void give_back(std::vector<std::unique_ptr<Worker>> workers, bool alone);
  Result<std::unique_ptr<Worker>> make_worker();

  const LaunchSetup& setup_;
  CgroupSpace& cgroups_;
  const int num_runs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Worker>> idle_;
  const int most_alone_;
  int num_out_ = 0, num_alone_out_ = 0, num_waiting_alone_ = 0, num_made_ = 0;
};

}  // namespace assay
