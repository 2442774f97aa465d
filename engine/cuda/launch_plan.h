#pragma once

#include <cstdint>
#include <string>

#include "engine/cuda/w4_layout.h"

namespace assay::cuda {

// Which W4A16 kernel runs, and with which tile. Host arithmetic only: chosen from the shape, tested as a table.
struct LaunchPlan {
  enum class Kernel : uint8_t {
    mma,    // w4a16_gemv.cu: cp.async and mma.sync; plain, for few rows
    wgmma,  // w4a16_gemm.cuh: bulk copies, a producer warp, wgmma with the weights in registers
  };
  // How blocks of weights are dealt to thread blocks.
  enum class Schedule : uint8_t {
    stream,  // every worker streams one contiguous run of weight blocks; cut rows are summed through the workspace
    tiles,   // every thread block computes whole tiles of its rows by tile_tokens
  };
  Kernel kernel = Kernel::wgmma;
  Schedule schedule = Schedule::stream;
  int tile_tokens = 8;
  int warpgroups = 2;  // wgmma: of 64 packed rows each; 4 (tiles only): a thread block computes whole rows of blocks
  int halves = 2;      // wgmma: a pipeline stage holds 64 or 128 columns
  int stages = 4;
  bool batch_invariant = true;   // tiles: sums are cut where stream cuts them
  bool overlap = false;          // programmatic dependent launch: starts while the kernel before drains
  bool spread_reduction = true;  // stream: all workers of a cut tile reduce a share of it; needs them all resident
  int num_ctas = 0;              // grid of the tiles schedule; 0: one a multiprocessor

  std::string text() const;  // "wgmma stream 8 tokens, 2 x 64 rows, 8 stages of 128"
};

// How the blocks of a matrix are dealt to the workers of the stream schedule: a property of the shape alone, so that
// sums are cut at the same columns on every device and for every number of tokens. Blocks are counted along k, then
// down the rows; a worker begins at a multiple of `grain` blocks.
struct W4Workers {
  uint32_t num_grains = 0, grain = 1, count = 1;  // num_grains * count < 2^32: 64-bit divisions take microseconds

  ASSAY_HOST_DEVICE int begin(int worker) const {
    return static_cast<int>(static_cast<uint32_t>(worker) * num_grains / count * grain);
  }
  // The worker that block `block` belongs to.
  ASSAY_HOST_DEVICE int of(int block) const {
    return static_cast<int>(((static_cast<uint32_t>(block) / grain + 1) * count - 1) / num_grains);
  }
};

// Two thread blocks, of 128 rows each, are one worker: together they fill an H100.
inline constexpr int kMaxWorkers = 66;
inline constexpr int kMinWorkerBlocks = 4;

W4Workers workers_of(const W4Shape& shape);

// Shared memory of a pipeline stage, and of the whole kernel so planned.
int64_t plan_stage_bytes(const LaunchPlan& plan, const W4Shape& shape);
int64_t plan_shared_bytes(const LaunchPlan& plan, const W4Shape& shape);
// Shared memory of a thread block that has a multiprocessor to itself, and of one that shares it with the next
// kernel's.
inline constexpr int64_t kMaxSharedBytes = 232448 - 1024;
// As many stages as fit, at most `most`.
int plan_max_stages(const LaunchPlan& plan, const W4Shape& shape, int most, int64_t most_bytes = kMaxSharedBytes);

// Whether w4a16_matmul has a kernel for this plan.
bool plan_is_supported(const LaunchPlan& plan, const W4Shape& shape);

struct PlanOptions {
  int num_sms = 132;
  bool batch_invariant = true;
  bool overlap = false;
};

// The plan for m tokens. Tuned by: bench_gemm --sweep on an H100.
LaunchPlan plan_w4a16(int64_t m, const W4Shape& shape, const PlanOptions& options);

}  // namespace assay::cuda
