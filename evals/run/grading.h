#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "evals/scoring/code_check.h"

namespace assay {

// A sample whose completions are programs, on its way to a score.
struct GradingJob {
  uint64_t key = 0;  // the caller's
  const TaskInfo* task = nullptr;
  CodeProblem problem;
  std::vector<std::string> completions;
};

struct Graded {
  uint64_t key = 0;
  Score score;  // failed, with a reason that begins with "grading: ", where no verdict could be reached
};

// The prefix of such a reason: the sample has its answer and lacks only its verdict.
inline constexpr std::string_view kGradingFailed = "grading: ";

// Runs programs on threads of its own, so that verdicts arrive while the engine decodes. The completions of one sample
// are graded side by side, equal ones once. submit, take and wait belong to one thread.
class Grading {
 public:
  Grading(const CodeChecker& checker, int num_threads);  // `checker` must outlive it
  ~Grading();                                            // forgets what has not begun, waits for the programs that run
  Grading(const Grading&) = delete;
  Grading& operator=(const Grading&) = delete;

  void submit(GradingJob job);
  std::vector<Graded> take();  // what is finished now
  std::vector<Graded> wait();  // blocks until something is finished or nothing is pending
  int64_t num_pending() const;
  const std::string& isolation() const { return checker_.runner().isolation(); }

 private:
  struct Work;
  struct Unit {
    std::shared_ptr<Work> work;
    size_t completion = 0;
  };
  void serve();
  void run(const Unit& unit);
  void finish(Work& work);

  const CodeChecker& checker_;
  mutable std::mutex mutex_;
  std::condition_variable more_work_, more_results_;
  std::deque<Unit> queue_;
  std::vector<Graded> finished_;
  int64_t pending_ = 0;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace assay
