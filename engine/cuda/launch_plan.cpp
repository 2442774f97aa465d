#include "engine/cuda/launch_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace assay::cuda {
namespace {

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

bool has_tile(const LaunchPlan& plan) {
  const int t = plan.tile_tokens;
  if (plan.warpgroups == 4) {
    if (plan.schedule != LaunchPlan::Schedule::tiles || plan.halves != 2) return false;
  } else if (plan.warpgroups != 2) {
    return false;
  }
  if (plan.halves == 1) return t == 192 || t == 256;
  return plan.halves == 2 && (t == 8 || t == 16 || t == 32 || t == 64 || t == 96 || t == 128);
}

// Where whole rows of blocks share out evenly, no row is cut.
bool owns_whole_rows(const W4Shape& shape) {
  const int64_t rounds = (shape.num_block_rows + kMaxWorkers - 1) / kMaxWorkers;
  return shape.num_block_rows * 100 >= rounds * kMaxWorkers * 95;
}

constexpr int kTiles[] = {32, 64, 96, 128, 192, 256};
constexpr int kMostTallTokens = 128;
// Up to so many tokens the weights' bytes decide: one tile holds all tokens, and streams share the weights evenly.
constexpr int64_t kFewTokens = 32;

// What bench_gemm --sweep showed on an H100, in microseconds: a column of a tile of 128 rows costs its tokens and about
// 50 more, of 256 rows its tokens and 100 more; each token tile that streams share costs a reduction, and totals that
// do not fit into registers their way to memory.
struct ColumnCost {
  double token_us = 0, tokens_more = 0;
  double us(int tile) const { return (tile + tokens_more) * token_us; }
};
constexpr ColumnCost kFlat{34.5e-6, 52}, kTall{48e-6, 100};
constexpr double kTilesUs = 5.5, kReductionUs = 9.5, kReductionTokenUs = 0.045, kTotalsTokenUs = 0.025;
constexpr int kMostTotalsTokens = 128;
constexpr int64_t kMostStreamTiles = 4;

int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Thread blocks of 64 rows a warpgroup, or as many turns of them.
int64_t parts_of(int warpgroups, int64_t tiles, const W4Shape& shape) {
  return shape.num_block_rows * (kBlockRows / kTileRows / warpgroups) * tiles;
}

double tiles_us(int warpgroups, int tile, int64_t m, const W4Shape& shape, int num_sms) {
  const int64_t waves = divide_up(parts_of(warpgroups, divide_up(m, tile), shape), num_sms);
  const bool totals = workers_of(shape).grain == 1 && tile > kMostTotalsTokens;
  return static_cast<double>(waves * shape.k) * (warpgroups == 4 ? kTall : kFlat).us(tile) + kTilesUs +
         (totals ? kTotalsTokenUs * tile : 0);
}

double stream_us(int tile, int64_t m, const W4Shape& shape, int num_sms) {
  const int64_t tiles = divide_up(m, tile);
  const double even = static_cast<double>(parts_of(2, tiles, shape) * shape.k) / num_sms * kFlat.us(tile);
  return even + static_cast<double>(tiles) * (kReductionUs + kReductionTokenUs * tile);
}

struct Choice {
  LaunchPlan::Schedule schedule = LaunchPlan::Schedule::tiles;
  int warpgroups = 4, tile = 8;
};

Choice choose(int64_t m, const W4Shape& shape, int num_sms) {
  const bool whole_rows = workers_of(shape).grain > 1;
  Choice best;
  if (m <= kFewTokens) {
    best.tile = m <= 8 ? 8 : m <= 16 ? 16 : 32;
    if (!whole_rows) best.schedule = LaunchPlan::Schedule::stream, best.warpgroups = 2;
    return best;
  }
  double best_us = std::numeric_limits<double>::infinity();
  const auto consider = [&](LaunchPlan::Schedule schedule, int warpgroups, int tile, double us) {
    if (us < best_us) best_us = us, best = {schedule, warpgroups, tile};
  };
  for (const int tile : kTiles) {
    consider(LaunchPlan::Schedule::tiles, 2, tile, tiles_us(2, tile, m, shape, num_sms));
    if (tile <= kMostTallTokens) consider(LaunchPlan::Schedule::tiles, 4, tile, tiles_us(4, tile, m, shape, num_sms));
    if (!whole_rows && divide_up(m, tile) <= kMostStreamTiles)
      consider(LaunchPlan::Schedule::stream, 2, tile, stream_us(tile, m, shape, num_sms));
  }
  return best;
}

}  // namespace

W4Workers workers_of(const W4Shape& shape) {
  W4Workers workers;
  workers.grain = owns_whole_rows(shape) ? static_cast<uint32_t>(shape.num_k_blocks) : 1;
  workers.num_grains = static_cast<uint32_t>(shape.num_blocks()) / workers.grain;
  const int64_t least = std::max<int64_t>(kMinWorkerBlocks, workers.grain);
  workers.count = static_cast<uint32_t>(std::clamp<int64_t>(shape.num_blocks() / least, 1, kMaxWorkers));
  return workers;
}

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
  const Choice choice = choose(m, shape, options.num_sms);
  LaunchPlan plan;
  plan.schedule = choice.schedule;
  plan.warpgroups = choice.warpgroups, plan.tile_tokens = choice.tile, plan.halves = choice.tile > 128 ? 1 : 2;
  plan.batch_invariant = options.batch_invariant;
  plan.overlap = options.overlap;
  plan.spread_reduction = options.num_sms >= static_cast<int>(workers_of(shape).count) * 2;
  plan.stages = plan_max_stages(plan, shape, 12);
  return plan;
}

}  // namespace assay::cuda
