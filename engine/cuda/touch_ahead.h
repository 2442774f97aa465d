#pragma once

#include <cstdint>
#include <vector>

namespace assay::cuda {

// Addresses that a product touches so that the device has translated them by the time that later products read there:
// the pages of a large model's weights are more than it remembers, and all thread blocks of a product begin on other
// pages at once.
struct TouchAhead {
  const void* const* addresses = nullptr;  // [count], on the device
  int count = 0;
};

// Weights in the order in which a step reads them.
struct WeightRegion {
  const void* data = nullptr;
  int64_t bytes = 0;
};

// What the product of each region touches: addresses [first, first + count).
struct TouchPlan {
  struct Range {
    int64_t first = 0;
    int count = 0;
  };
  std::vector<const void*> addresses;
  std::vector<Range> ranges;  // one a region
};

// One address a page of every region, each touched about `pages_ahead` pages before it is read; the last regions touch
// the first ones, for the next step. Empty where all pages together are at most twice that. Host arithmetic only.
inline constexpr int64_t kPageBytes = int64_t{2} << 20;  // of large device allocations
inline constexpr int64_t kPagesAhead = 100;
TouchPlan plan_touches(const std::vector<WeightRegion>& regions, int64_t pages_ahead = kPagesAhead);

}  // namespace assay::cuda
