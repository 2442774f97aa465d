#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "engine/base/status.h"
#include "engine/cpu/buffer.h"

namespace assay::cpu {

class Team;

// One thread's view of a team at work. All workers of a team call the same stages in the same order.
class Worker {
 public:
  int index() const { return index_; }
  int count() const { return count_; }
  // Memory of this worker alone, as large as Team::reserve_scratch asked for.
  std::byte* scratch() const { return scratch_; }

  // Waits for the whole team.
  void barrier();

  // Calls job(begin, end) over pieces of [0, count), each at most `piece` long, whoever is free taking the next, and
  // waits for the whole team. Which worker takes a piece is chance: what a job writes may depend on its range only.
  template <class Job>
  void for_each(int64_t count, int64_t piece, Job&& job);

  // Runs job() on one worker while the others wait.
  template <class Job>
  void once(Job&& job) {
    if (index_ == 0) job();
    barrier();
  }

  // Remembers the first failure of this run; work goes on, the result will not be used.
  void fail(std::string message);

 private:
  friend class Team;
  Worker(Team& team, int index, int count, std::byte* scratch)
      : team_(team), index_(index), count_(count), scratch_(scratch) {}
  Team& team_;
  int index_;
  int count_;
  std::byte* scratch_;
};

// Threads that walk through a forward pass together, one parallel region a pass: between stages they meet at a barrier
// that spins a few microseconds and then sleeps, so that a loaded machine is not kept busy by waiting.
class Team {
 public:
  explicit Team(int num_threads);
  int num_threads() const { return num_threads_; }

  // Gives every worker at least `bytes` of scratch. Errors: out_of_memory.
  Status reserve_scratch(int64_t bytes);
  // Runs work(worker) on every thread and returns when all are done. Errors: internal, what a worker reported.
  Status run(const std::function<void(Worker&)>& work);

 private:
  friend class Worker;
  void arrive(int count);

  int num_threads_;
  int64_t scratch_bytes_ = 0;  // of one worker
  Buffer scratch_;
  std::mutex failure_mutex_;
  std::string failure_;
  alignas(64) std::atomic<int64_t> next_{0};  // first index of for_each that nobody took
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // barriers passed
};

template <class Job>
void Worker::for_each(int64_t count, int64_t piece, Job&& job) {
  for (;;) {
    const int64_t begin = team_.next_.fetch_add(piece, std::memory_order_relaxed);
    if (begin >= count) break;
    job(begin, std::min(begin + piece, count));
  }
  barrier();
}

}  // namespace assay::cpu
