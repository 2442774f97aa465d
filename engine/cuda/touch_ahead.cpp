#include "engine/cuda/touch_ahead.h"

namespace assay::cuda {

TouchPlan plan_touches(const std::vector<WeightRegion>& regions, int64_t pages_ahead) {
  TouchPlan plan;
  std::vector<const void*> pages;
  for (const WeightRegion& region : regions) {
    const auto first = reinterpret_cast<uintptr_t>(region.data), end = first + static_cast<uintptr_t>(region.bytes);
    plan.ranges.push_back({static_cast<int64_t>(pages.size()) + pages_ahead, 0});
    for (uintptr_t at = first; at < end; at = (at / kPageBytes + 1) * kPageBytes) {
      pages.push_back(reinterpret_cast<const void*>(at));
      ++plan.ranges.back().count;
    }
  }
  const auto count = static_cast<int64_t>(pages.size());
  if (count <= 2 * pages_ahead) return {};
  plan.addresses = pages;
  plan.addresses.insert(plan.addresses.end(), pages.begin(), pages.begin() + pages_ahead);
  return plan;
}

}  // namespace assay::cuda
