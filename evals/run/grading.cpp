#include "evals/run/grading.h"

#include <algorithm>
#include <atomic>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace assay {

// A job under way. `prepared` is made by whichever thread comes first.
struct Grading::Work {
  GradingJob job;
  std::once_flag prepare_once;
  std::shared_ptr<const PreparedProblem> prepared;
  Status status;                 // of prepare
  std::vector<size_t> equal_to;  // a completion -> the first one of the same text, which is graded for all of them
  std::vector<ProgramVerdict> verdicts;
  std::atomic<size_t> missing{0};
};

Grading::Grading(const CodeChecker& checker, int num_threads) : checker_(checker) {
  for (int i = 0; i < std::max(num_threads, 1); ++i) threads_.emplace_back([this] { serve(); });
}

Grading::~Grading() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    queue_.clear();
  }
  more_work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Grading::submit(GradingJob job) {
  auto work = std::make_shared<Work>();
  work->job = std::move(job);
  const size_t count = work->job.completions.size();
  work->verdicts.resize(count);
  std::unordered_map<std::string_view, size_t> first_of;
  for (size_t i = 0; i < count; ++i)
    work->equal_to.push_back(first_of.try_emplace(work->job.completions[i], i).first->second);
  work->missing = first_of.size();
  {
    const std::lock_guard lock(mutex_);
    ++pending_;
    for (size_t i = 0; i < count; ++i) {
      if (work->equal_to[i] == i) queue_.push_back({work, i});
    }
  }
  if (count == 0) finish(*work);
  more_work_.notify_all();
}

void Grading::serve() {
  for (;;) {
    Unit unit;
    {
      std::unique_lock lock(mutex_);
      more_work_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      unit = std::move(queue_.front());
      queue_.pop_front();
    }
    run(unit);
  }
}

void Grading::run(const Unit& unit) {
  Work& work = *unit.work;
  std::call_once(work.prepare_once, [&] {
    auto prepared = checker_.prepare(work.job.problem);
    if (prepared.ok()) work.prepared = std::move(*prepared);
    work.status = prepared.status();
  });
  ProgramVerdict& verdict = work.verdicts[unit.completion];
  if (work.prepared) {
    auto checked = checker_.check(*work.prepared, work.job.completions[unit.completion]);
    if (checked.ok()) {
      verdict = std::move(*checked);
    } else {
      verdict.detail = checked.status().message();
    }
  } else {
    verdict.detail = work.status.message();
  }
  if (--work.missing == 0) finish(work);
}

void Grading::finish(Work& work) {
  Graded graded;
  graded.key = work.job.key;
  if (work.verdicts.empty()) {
    graded.score.outcome = Outcome::failed;
    graded.score.reason = std::string(kGradingFailed) + "there is no completion";
  } else {
    for (size_t i = 0; i < work.verdicts.size(); ++i) work.verdicts[i] = work.verdicts[work.equal_to[i]];
    graded.score = score_programs(*work.job.task, work.job.problem, work.verdicts, checker_.runner().isolation());
  }
  work.prepared.reset();
  {
    const std::lock_guard lock(mutex_);
    finished_.push_back(std::move(graded));
    --pending_;
  }
  more_results_.notify_all();
}

std::vector<Graded> Grading::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(finished_, {});
}

std::vector<Graded> Grading::wait() {
  std::unique_lock lock(mutex_);
  more_results_.wait(lock, [this] { return !finished_.empty() || pending_ == 0; });
  return std::exchange(finished_, {});
}

int64_t Grading::num_pending() const {
  const std::lock_guard lock(mutex_);
  return pending_ + static_cast<int64_t>(finished_.size());
}

}  // namespace assay
