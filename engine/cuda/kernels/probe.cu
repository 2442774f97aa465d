#include <algorithm>

#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 4096;

__device__ __forceinline__ uint32_t scrambled(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// Between -1 and 1.
__global__ void fill(bf16* out, int64_t count) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    const uint32_t bits = scrambled(static_cast<uint32_t>(i) * 2654435769u + static_cast<uint32_t>(i >> 32));
    out[i] = __float2bfloat16_rn(static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-31f);
  }
}

__global__ void compare(const uint16_t* a, const uint16_t* b, int64_t count, int32_t* differences) {
  int different = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    different |= a[i] != b[i] ? 1 : 0;
  }
  if (different) atomicAdd(differences, 1);
}

unsigned blocks_for(int64_t count) {
  return static_cast<unsigned>(std::clamp<int64_t>((count + kThreads - 1) / kThreads, 1, kMostBlocks));
}

}  // namespace

Status fill_random_bf16(void* out, int64_t count, cudaStream_t stream) {
  fill<<<blocks_for(count), kThreads, 0, stream>>>(static_cast<bf16*>(out), count);
  return check_launch("fill_random_bf16", stream);
}

Status count_differences(const void* a, const void* b, int64_t bytes, int32_t* differences, cudaStream_t stream) {
  ASSAY_CUDA(cudaMemsetAsync(differences, 0, sizeof(int32_t), stream));
  compare<<<blocks_for(bytes / 2), kThreads, 0, stream>>>(static_cast<const uint16_t*>(a),
                                                          static_cast<const uint16_t*>(b), bytes / 2, differences);
  return check_launch("count_differences", stream);
}

}  // namespace assay::cuda
