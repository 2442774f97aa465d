#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <vector>

#include "engine/cuda/w4a16.h"

// The compiled W4A16 kernels, by the numbers that a plan and a shape choose them with.
namespace assay::cuda {

// What every W4A16 kernel is told.
struct W4Args {
  const uint8_t* blocks = nullptr;
  int64_t block_bytes = 0;
  int num_block_rows = 0, num_k_blocks = 0;
  W4Workers workers;
  int m = 0, n = 0, k = 0;
  const __nv_bfloat16* x = nullptr;
  int64_t ldx = 0;
  W4Epilogue epilogue;
  float* partials = nullptr;  // stream: pieces of cut rows; tiles with cut_sums: running totals of each thread block
  uint32_t* counters = nullptr;
  int token_tiles = 0;
  bool stream = true;     // else tiles
  bool cut_sums = false;  // tiles: sum where stream would have cut
  bool spread = true;
  bool overlap = false;
};

struct WgmmaKernel {
  int tile_tokens = 0, warpgroups = 0, halves = 0, sets = 0;
  bool zeros = false;
  int stage_bytes = 0;
  cudaError_t (*launch)(const W4Args&, const CUtensorMap&, const LaunchPlan&, int shared_bytes, int grid,
                        cudaStream_t) = nullptr;
  const void* function = nullptr;
};

struct MmaKernel {
  int tile_tokens = 0, sets = 0;
  bool zeros = false;
  int stage_bytes = 0;
  cudaError_t (*launch)(const W4Args&, const LaunchPlan&, int shared_bytes, int grid, cudaStream_t) = nullptr;
  const void* function = nullptr;
};

const std::vector<WgmmaKernel>& wgmma_kernels();
std::vector<WgmmaKernel> tall_wgmma_kernels();  // those of four warpgroups, which wgmma_kernels holds too
const std::vector<MmaKernel>& mma_kernels();

// Calls add<sets, zeros>() for every way of grouping that kernels are compiled for.
template <class Add>
void for_every_grouping(const Add& add) {
  add.template operator()<1, false>();
  add.template operator()<2, false>();
  add.template operator()<4, false>();
  add.template operator()<1, true>();
  add.template operator()<2, true>();
  add.template operator()<4, true>();
}

}  // namespace assay::cuda
