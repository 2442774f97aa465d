#include "engine/cpu/team.h"

#include <omp.h>

#include "engine/base/threads.h"

namespace assay::cpu {
namespace {

constexpr int kSpins = 2000;  // about 20 microseconds, longer than any stage's imbalance on an idle machine

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

void Worker::barrier() { team_.arrive(count_); }

void Worker::fail(std::string message) {
  const std::lock_guard lock(team_.failure_mutex_);
  if (team_.failure_.empty()) team_.failure_ = std::move(message);
}

Team::Team(int num_threads) : num_threads_(num_threads > 0 ? num_threads : available_cpus()) {}

Status Team::reserve_scratch(int64_t bytes) {
  if (bytes <= scratch_bytes_) return ok_status();
  const int64_t rounded = (bytes + 4095) / 4096 * 4096;
  ASSAY_ASSIGN(scratch_, Buffer::allocate(rounded * num_threads_, "scratch memory of the CPU threads"));
  scratch_bytes_ = rounded;
  return ok_status();
}

Status Team::run(const std::function<void(Worker&)>& work) {
  failure_.clear();
  next_.store(0);
  // A team of one opens no parallel region, so a library called from it must be told not to open its own.
  const int outer_threads = omp_get_max_threads();
  if (num_threads_ == 1) omp_set_num_threads(1);
#pragma omp parallel num_threads(num_threads_)
  {
    const int index = omp_get_thread_num();
    Worker worker(*this, index, omp_get_num_threads(), scratch_.as<std::byte>() + index * scratch_bytes_);
    work(worker);
  }
  if (num_threads_ == 1) omp_set_num_threads(outer_threads);
  return failure_.empty() ? ok_status() : internal_error(failure_);
}

void Team::arrive(int count) {
  const uint32_t generation = generation_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
    arrived_.store(0, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  for (int spin = 0; spin < kSpins; ++spin) {
    if (generation_.load(std::memory_order_acquire) != generation) return;
    pause_briefly();
  }
  while (generation_.load(std::memory_order_acquire) == generation) generation_.wait(generation);
}

}  // namespace assay::cpu
