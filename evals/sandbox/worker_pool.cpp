#include "evals/sandbox/worker_pool.h"

#include <algorithm>

#include "engine/base/threads.h"

namespace assay {
namespace {
constexpr int kRunsPerHost = 2000;  // a host forked that often is replaced, so that nothing can build up in it
}

Status Worker::ensure_host() {
  if (host_ && host_->num_launches() < kRunsPerHost) return ok_status();
  host_.reset();
  ASSAY_ASSIGN(host_, LaunchHost::start(setup_, cgroup_.get()));
  return ok_status();
}

Result<std::string> Worker::info() {
  ASSAY_TRY(ensure_host());
  return host_->info();
}

Result<std::unique_ptr<ProgramProcess>> Worker::start(const SandboxLimits& limits, bool keep_output,
                                                      size_t max_frame_bytes) {
  ASSAY_TRY(ensure_host());
  Result<Launched> launched = host_->launch(limits, keep_output);
  if (!launched.ok()) {
    host_.reset();
    return launched.status();
  }
  return std::make_unique<ProgramProcess>(std::move(launched).value(), limits, cgroup_.get(), setup_.hello.isolate != 0,
                                          max_frame_bytes);
}

WorkerPool::WorkerPool(const LaunchSetup& setup, CgroupSpace& cgroups, int num_runs)
    : setup_(setup), cgroups_(cgroups), num_runs_(num_runs), most_alone_(std::max(1, available_cpus() / 4)) {}

Result<std::unique_ptr<Worker>> WorkerPool::make_worker() {
  std::unique_ptr<Cgroup> cgroup;
  if (cgroups_.kind() != CgroupPlace::Kind::none) {
    ASSAY_ASSIGN(cgroup, cgroups_.make(num_made_));
  }
  ++num_made_;
  return std::make_unique<Worker>(setup_, std::move(cgroup));
}

Result<std::unique_ptr<WorkerPool::Lease>> WorkerPool::lease(size_t num_workers, bool alone) {
  std::unique_lock lock(mutex_);
  if (alone) {
    ++num_waiting_alone_;
    changed_.wait(lock, [this] { return num_out_ == 0 && num_alone_out_ < most_alone_; });
    --num_waiting_alone_;
  } else {
    changed_.wait(lock, [this] { return num_out_ < num_runs_ && num_alone_out_ == 0 && num_waiting_alone_ == 0; });
  }
  std::vector<std::unique_ptr<Worker>> workers;
  while (workers.size() < num_workers) {
    if (idle_.empty()) {
      ASSAY_ASSIGN(auto made, make_worker());
      idle_.push_back(std::move(made));
    }
    workers.push_back(std::move(idle_.back()));
    idle_.pop_back();
  }
  ++(alone ? num_alone_out_ : num_out_);
  return std::make_unique<Lease>(*this, std::move(workers), alone);
}

void WorkerPool::give_back(std::vector<std::unique_ptr<Worker>> workers, bool alone) {
  const std::lock_guard lock(mutex_);
  for (auto& worker : workers) idle_.push_back(std::move(worker));
  --(alone ? num_alone_out_ : num_out_);
  changed_.notify_all();
}

}  // namespace assay
