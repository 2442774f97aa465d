#include "engine/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace assay {
namespace {

// Threads that are joined however the scope is left.
class Crew {
 public:
  ~Crew() {
    for (std::thread& thread : threads_) thread.join();
  }
  // False when the system gives no more threads.
  bool add(const std::function<void()>& work) {
    try {
      threads_.emplace_back(work);
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void parallel_for(size_t count, const std::function<void(size_t)>& job, int num_threads) {
  const size_t wanted = static_cast<size_t>(num_threads > 0 ? num_threads : available_cpus());
  std::atomic<size_t> next{0};
  const auto work = [&]() noexcept {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) job(i);
  };
  Crew crew;
  for (size_t i = 1; i < std::min(wanted, count); ++i) {
    if (!crew.add(work)) break;
  }
  work();
}

}  // namespace assay
