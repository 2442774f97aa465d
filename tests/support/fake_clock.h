#pragma once

#include <atomic>

#include "engine/base/clock.h"

namespace assay::testing {

// A clock that stands still until it is told to go on. Thread-safe.
class FakeClock : public Clock {
 public:
  static constexpr int64_t kStartUtcUs = 1'767'225'600'000'000;  // 2026-01-01T00:00:00Z

  explicit FakeClock(int64_t utc_us = kStartUtcUs) : start_utc_us_(utc_us) {}

  int64_t utc_us() override { return start_utc_us_ + passed_us_; }
  int64_t monotonic_us() override { return passed_us_; }
  void advance_us(int64_t us) { passed_us_ += us; }

 private:
  const int64_t start_utc_us_;
  std::atomic<int64_t> passed_us_{0};
};

}  // namespace assay::testing
