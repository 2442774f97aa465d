#pragma once

#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

// What the attention kernels share: how a split of keys joins a row's total. Every kernel does these operations in this
// order, so it does not show which one did them.
namespace assay::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr int kGroupsPerSplit = kSplitKeys / kGroupKeys;

// 2 to the power x; exact for 0 and minus infinity.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

// How a split's sums and a row's total are weighted. Scores are powers of two.
struct Merge {
  bool skip;  // the split saw no key
  float keep, take, max;
};

__device__ __forceinline__ Merge merge_of(float total_max, float split_max) {
  if (split_max == -INFINITY) return {true, 1.0f, 0.0f, total_max};
  if (total_max == -INFINITY) return {false, 0.0f, 1.0f, split_max};
  const float max = fmaxf(total_max, split_max);
  return {false, exp2_fast(total_max - max), exp2_fast(split_max - max), max};
}

__device__ __forceinline__ float merged(const Merge& merge, float total, float split) {
  return merge.skip ? total : __fmaf_rn(total, merge.keep, __fmul_rn(split, merge.take));
}

}  // namespace assay::cuda
