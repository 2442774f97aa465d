#include "engine/base/threads.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace assay {
namespace {

TEST_CASE("at least one processor is available") { CHECK(available_cpus() >= 1); }

TEST_CASE("every job runs exactly once on any number of threads") {
  for (const int num_threads : {0, 1, 2, 7, 64}) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{2}, size_t{1000}}) {
      std::vector<std::atomic<int>> runs(count);
      parallel_for(
          count, [&](size_t i) { ++runs[i]; }, num_threads);
      for (const auto& run : runs) REQUIRE(run == 1);
    }
  }
}

TEST_CASE("one thread means the calling one") {
  std::set<std::thread::id> ids;
  parallel_for(
      10, [&](size_t) { ids.insert(std::this_thread::get_id()); }, 1);
  CHECK(ids == std::set<std::thread::id>{std::this_thread::get_id()});
}

TEST_CASE("jobs run side by side when threads are there") {
  std::atomic<int> arrived{0};
  // Each job waits for the other: on one thread this would never end.
  parallel_for(
      2,
      [&](size_t) {
        ++arrived;
        while (arrived < 2) std::this_thread::yield();
      },
      2);
  CHECK(arrived == 2);
}

TEST_CASE("a job may start jobs of its own") {
  std::atomic<int> sum{0};
  parallel_for(
      4,
      [&](size_t i) {
        parallel_for(
            3, [&](size_t j) { sum += static_cast<int>(i * 3 + j); }, 2);
      },
      2);
  CHECK(sum == 66);
}

}  // namespace
}  // namespace assay
