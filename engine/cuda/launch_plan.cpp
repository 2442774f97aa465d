#include "engine/cuda/launch_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace assay::cuda {
namespace {

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

bool has_tile(const LaunchPlan& plan) {
  if (plan.warpgroups != 2 || (plan.cluster != 1 && plan.cluster != 2)) return false;
  const int t = plan.tile_tokens;
  if (plan.halves == 1) return t == 192 || t == 256;
  return plan.halves == 2 && (t == 16 || t == 32 || t == 64 || t == 96 || t == 128 || (t == 8 && plan.cluster == 1));
}

constexpr LaunchPlan::Schedule kStream = LaunchPlan::Schedule::stream, kTiles = LaunchPlan::Schedule::tiles;

struct Tile {
  LaunchPlan::Schedule schedule;
  int tokens, cluster, stages;
};

// The fastest kernels that sum in the shape's order, up to so many tokens. Tuned by: bench_gemm --sweep on an H100.
struct Rung {
  int64_t most_tokens;
  Tile tall;   // workers own whole rows: gate and up
  Tile small;  // few rows: queries, keys and values; attention's output
  Tile deep;   // few rows of many columns: down
};

constexpr Rung kLadder[] = {
    {8, {kTiles, 8, 1, 10}, {kStream, 8, 1, 10}, {kStream, 8, 1, 10}},
    {16, {kTiles, 16, 1, 8}, {kStream, 16, 1, 8}, {kStream, 16, 1, 8}},
    {32, {kTiles, 32, 1, 6}, {kStream, 32, 1, 6}, {kStream, 32, 1, 6}},
    {64, {kTiles, 64, 2, 4}, {kStream, 64, 2, 4}, {kStream, 64, 2, 4}},
    {96, {kTiles, 96, 2, 6}, {kStream, 96, 2, 6}, {kStream, 96, 2, 6}},
    {128, {kTiles, 128, 2, 5}, {kStream, 128, 2, 5}, {kStream, 128, 2, 5}},
    {192, {kTiles, 192, 2, 7}, {kStream, 192, 2, 7}, {kStream, 192, 2, 7}},
    {1024, {kTiles, 256, 2, 6}, {kStream, 256, 2, 6}, {kStream, 256, 2, 6}},
    {INT64_MAX, {kTiles, 256, 2, 6}, {kTiles, 256, 2, 6}, {kTiles, 256, 2, 6}},
};
constexpr int64_t kDeepColumns = 16384;

const Rung& rung_for(int64_t m) {
  return *std::find_if(std::begin(kLadder), std::end(kLadder), [&](const Rung& rung) { return m <= rung.most_tokens; });
}

// Where whole rows of blocks share out evenly, no row is cut.
bool owns_whole_rows(const W4Shape& shape) {
  const int64_t rounds = (shape.num_block_rows + kMaxWorkers - 1) / kMaxWorkers;
  return shape.num_block_rows * 100 >= rounds * kMaxWorkers * 95;
}

}  // namespace

W4Workers workers_of(const W4Shape& shape) {
  W4Workers workers;
  workers.num_blocks = static_cast<int>(shape.num_blocks());
  workers.grain = owns_whole_rows(shape) ? static_cast<int>(shape.num_k_blocks) : 1;
  workers.count = std::clamp(workers.num_blocks / std::max(kMinWorkerBlocks, workers.grain), 1, kMaxWorkers);
  return workers;
}

std::string LaunchPlan::text() const {
  std::string text = kernel == Kernel::mma ? "mma" : "wgmma";
  text += schedule == Schedule::stream ? " stream" : batch_invariant ? " tiles cut" : " tiles";
  text += fmt::format(" {} tokens, ", tile_tokens);
  if (kernel == Kernel::wgmma) text += fmt::format("{}{} x 64 rows, ", cluster == 2 ? "pairs of " : "", warpgroups);
  text += fmt::format("{} stages of {}", stages, kernel == Kernel::mma ? 128 : 64 * halves);
  if (stages_to_l2 > 0) text += fmt::format(" and {}", stages_to_l2);
  if (overlap) text += ", overlapped";
  if (schedule == Schedule::stream && spread_reduction) text += ", spread";
  return text;
}

int64_t plan_stage_bytes(const LaunchPlan& plan, const W4Shape& shape) {
  const int64_t metas = shape.sets * (shape.has_zeros ? 2 : 1);
  if (plan.kernel == LaunchPlan::Kernel::mma)
    return kCodeBytes + metas * kSetBytes + int64_t{plan.tile_tokens} * (kBlockColumns * 2 + 16);
  const int64_t weights = plan.warpgroups * (plan.halves * int64_t{kTileCodeBytes} + metas * kTileRows * 2);
  return round_up(int64_t{plan.halves} * plan.tile_tokens * kHalfColumns * 2 + weights, 1024);
}

int64_t plan_shared_bytes(const LaunchPlan& plan, const W4Shape& shape) {
  const int64_t stages = plan.stages * plan_stage_bytes(plan, shape);
  if (plan.kernel == LaunchPlan::Kernel::mma) return stages;
  constexpr int64_t kBarriers = 256, kAlignment = 1024;
  return kAlignment + stages + kBarriers;
}

int plan_max_stages(const LaunchPlan& plan, const W4Shape& shape, int most, int64_t most_bytes) {
  LaunchPlan tried = plan;
  for (tried.stages = most; tried.stages > 2; --tried.stages) {
    const bool odd_mma = plan.kernel == LaunchPlan::Kernel::mma && (tried.stages == 5 || tried.stages == 7);
    if (!odd_mma && plan_shared_bytes(tried, shape) <= most_bytes) break;
  }
  return tried.stages;
}

bool plan_is_supported(const LaunchPlan& plan, const W4Shape& shape) {
  if (shape.sets != 1 && shape.sets != 2 && shape.sets != 4) return false;
  if (plan_shared_bytes(plan, shape) > kMaxSharedBytes) return false;
  if (plan.kernel == LaunchPlan::Kernel::mma) {
    const int t = plan.tile_tokens, s = plan.stages;
    const bool stages = s == 2 || s == 3 || s == 4 || s == 6 || s == 8;
    return plan.schedule == LaunchPlan::Schedule::stream && stages && (t == 8 || t == 16 || t == 32 || t == 64);
  }
  if (plan.stages < 2 || plan.stages > 16) return false;
  return has_tile(plan);
}

LaunchPlan plan_w4a16(int64_t m, const W4Shape& shape, const PlanOptions& options) {
  const Rung& rung = rung_for(m);
  const Tile& tile = owns_whole_rows(shape) ? rung.tall : shape.k >= kDeepColumns ? rung.deep : rung.small;
  LaunchPlan plan;
  plan.schedule = tile.schedule;
  plan.tile_tokens = tile.tokens, plan.cluster = tile.cluster, plan.halves = tile.tokens > 128 ? 1 : 2;
  plan.batch_invariant = options.batch_invariant;
  plan.overlap = options.overlap;
  plan.spread_reduction = tile.tokens >= 128 && options.num_sms >= workers_of(shape).count * 2;
  plan.stages = plan_max_stages(plan, shape, tile.stages, tile.tokens <= 64 ? kSharedBytesOfTwo : kMaxSharedBytes);
  plan.stages_to_l2 = tile.tokens <= 64 ? 8 : 0;
  return plan;
}

}  // namespace assay::cuda
