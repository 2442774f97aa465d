#include "engine/cuda/launch_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace assay::cuda {
namespace {

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Sums of cut tiles that the tiles schedule keeps in shared memory when it must sum as stream does.
int64_t totals_bytes(const LaunchPlan& plan) {
  const bool needed = plan.schedule == LaunchPlan::Schedule::tiles && plan.batch_invariant;
  return needed ? int64_t{plan.warpgroups} * kTileRows * plan.tile_tokens * 4 : 0;
}

bool planned_tile(const LaunchPlan& plan) {
  if (plan.warpgroups != 4) return false;
  const int t = plan.tile_tokens;
  return plan.halves == 2 ? t == 8 || t == 16 || t == 32 || t == 64 : plan.halves == 1 && t == 128;
}

bool swept_tile(const LaunchPlan& plan) {
  const int t = plan.tile_tokens;
  if (plan.warpgroups == 4) return plan.halves == 1 ? t == 64 || t == 96 : plan.halves == 2 && t == 96;
  if (plan.warpgroups == 2) return plan.halves == 1 ? t == 128 || t == 192 || t == 256 : plan.halves == 2 && t == 128;
  return false;
}

constexpr LaunchPlan::Schedule kStream = LaunchPlan::Schedule::stream, kTiles = LaunchPlan::Schedule::tiles;

struct Tile {
  LaunchPlan::Schedule schedule;
  int tokens, warpgroups, halves, stages;
};

// The fastest kernels that sum in the shape's order, up to so many tokens. Tuned by: bench_gemm --sweep on an H100.
struct Rung {
  int64_t most_tokens;
  Tile tall;   // rows enough for whole tiles on every multiprocessor: gate and up
  Tile small;  // few rows: queries, keys and values; attention's output
  Tile deep;   // few rows of many columns: down
};

constexpr Rung kLadder[] = {
    {8, {kStream, 8, 4, 2, 6}, {kStream, 8, 4, 2, 4}, {kStream, 8, 4, 2, 6}},
    {16, {kStream, 16, 4, 2, 10}, {kStream, 16, 4, 2, 4}, {kStream, 16, 4, 2, 6}},
    {32, {kStream, 32, 4, 2, 8}, {kStream, 32, 4, 2, 4}, {kStream, 32, 4, 2, 4}},
    {64, {kTiles, 64, 4, 2, 4}, {kStream, 64, 4, 2, 4}, {kStream, 64, 4, 2, 4}},
    {96, {kTiles, 96, 4, 1, 6}, {kStream, 96, 4, 2, 4}, {kStream, 96, 4, 2, 4}},
    {128, {kTiles, 128, 4, 1, 6}, {kTiles, 128, 2, 2, 4}, {kStream, 128, 4, 1, 4}},
    {256, {kTiles, 128, 4, 1, 6}, {kTiles, 128, 2, 2, 4}, {kTiles, 128, 2, 2, 4}},
    {512, {kTiles, 128, 4, 1, 6}, {kTiles, 96, 4, 2, 4}, {kTiles, 192, 2, 1, 6}},
    {1536, {kTiles, 128, 4, 1, 6}, {kTiles, 96, 4, 2, 4}, {kTiles, 96, 4, 2, 4}},
    {INT64_MAX, {kTiles, 128, 4, 1, 6}, {kTiles, 96, 4, 2, 4}, {kTiles, 128, 4, 1, 6}},
};
constexpr int64_t kDeepColumns = 16384, kTallBlockRows = 132;

const Rung& rung_for(int64_t m) {
  return *std::find_if(std::begin(kLadder), std::end(kLadder), [&](const Rung& rung) { return m <= rung.most_tokens; });
}

bool is_tall(const W4Shape& shape) { return shape.num_block_rows >= kTallBlockRows; }

LaunchPlan plan_of(const Tile& tile, const W4Shape& shape, const PlanOptions& options) {
  LaunchPlan plan;
  plan.schedule = tile.schedule;
  plan.tile_tokens = tile.tokens, plan.warpgroups = tile.warpgroups, plan.halves = tile.halves;
  plan.batch_invariant = options.batch_invariant;
  plan.overlap = options.overlap;
  plan.spread_reduction = options.num_sms >= num_workers(shape.num_blocks());
  plan.stages = plan_max_stages(plan, shape, tile.stages);
  return plan;
}

}  // namespace

std::string LaunchPlan::text() const {
  std::string text = kernel == Kernel::mma ? "mma" : "wgmma";
  text += schedule == Schedule::stream ? " stream" : batch_invariant ? " tiles cut" : " tiles";
  text += fmt::format(" {} tokens, ", tile_tokens);
  if (kernel == Kernel::wgmma) text += fmt::format("{} x 64 rows, ", warpgroups);
  text += fmt::format("{} stages of {}", stages, kernel == Kernel::mma ? 128 : 64 * halves);
  if (overlap) text += ", overlapped";
  if (schedule == Schedule::stream && !spread_reduction) text += ", one reducer";
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
  return kAlignment + stages + kBarriers + totals_bytes(plan);
}

int plan_max_stages(const LaunchPlan& plan, const W4Shape& shape, int most) {
  LaunchPlan tried = plan;
  for (tried.stages = most; tried.stages > 2; --tried.stages) {
    const bool odd_mma = plan.kernel == LaunchPlan::Kernel::mma && (tried.stages == 5 || tried.stages == 7);
    if (!odd_mma && plan_shared_bytes(tried, shape) <= kMaxSharedBytes) break;
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
  return planned_tile(plan) || (swept_tile(plan) && shape.sets == 1 && !shape.has_zeros);
}

LaunchPlan plan_w4a16(int64_t m, const W4Shape& shape, const PlanOptions& options) {
  const Rung& rung = rung_for(m);
  Tile tile = is_tall(shape) ? rung.tall : shape.k >= kDeepColumns ? rung.deep : rung.small;
  LaunchPlan plan = plan_of(tile, shape, options);
  if (plan_is_supported(plan, shape)) return plan;
  tile.tokens = 128, tile.warpgroups = 4, tile.halves = 1;
  return plan_of(tile, shape, options);
}

}  // namespace assay::cuda
