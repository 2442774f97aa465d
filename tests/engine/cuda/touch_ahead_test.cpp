#include "engine/cuda/touch_ahead.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace assay::cuda {
namespace {

const void* address(int64_t value) { return reinterpret_cast<const void*>(value); }
int64_t page_of(const void* at) { return reinterpret_cast<int64_t>(at) / kPageBytes; }

}  // namespace

TEST_CASE("every page of every region is touched once a step, by a product that runs so many pages earlier") {
  constexpr int64_t kAhead = 5;
  // Regions that begin anywhere in a page; the second one is smaller than a page and lies in one.
  const std::vector<WeightRegion> regions = {{address(kPageBytes * 100 + 256), 3 * kPageBytes},
                                             {address(kPageBytes * 10 + 512), 1000},
                                             {address(kPageBytes * 500), 6 * kPageBytes},
                                             {address(kPageBytes * 50 + 1024), 4 * kPageBytes - 1024}};
  const TouchPlan plan = plan_touches(regions, kAhead);
  REQUIRE(plan.ranges.size() == regions.size());
  std::vector<int64_t> read;  // pages in the order of reading
  for (const WeightRegion& region : regions) {
    const auto begin = reinterpret_cast<int64_t>(region.data);
    for (int64_t page = begin / kPageBytes; page * kPageBytes < begin + region.bytes; ++page) read.push_back(page);
  }
  std::vector<int64_t> touched;
  int64_t before = 0;
  for (size_t i = 0; i < regions.size(); ++i) {
    const TouchPlan::Range range = plan.ranges[i];
    CHECK(range.first == before + kAhead);
    before += range.count;
    for (int64_t at = range.first; at < range.first + range.count; ++at) {
      const void* where = plan.addresses.at(static_cast<size_t>(at));
      CHECK(std::any_of(regions.begin(), regions.end(), [&](const WeightRegion& region) {
        const auto begin = reinterpret_cast<int64_t>(region.data), value = reinterpret_cast<int64_t>(where);
        return value >= begin && value < begin + region.bytes;
      }));
      touched.push_back(page_of(where));
    }
  }
  std::rotate(read.begin(), read.begin() + kAhead, read.end());
  CHECK(touched == read);
}

TEST_CASE("few pages are not touched: the device remembers them") {
  CHECK(plan_touches({}, 5).addresses.empty());
  CHECK(plan_touches({{address(kPageBytes), 10 * kPageBytes}}, 5).addresses.empty());
  CHECK(plan_touches({{address(kPageBytes), 11 * kPageBytes}}, 5).ranges.size() == 1);
}

}  // namespace assay::cuda
