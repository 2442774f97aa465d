#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "engine/cuda/kernels.h"

// What all kernels use: elements as floats, 16-byte pieces, sums over a block in a fixed order.
namespace assay::cuda {

using bf16 = __nv_bfloat16;

template <class T>
__device__ __forceinline__ float to_float(T value);
template <>
__device__ __forceinline__ float to_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ float to_float<bf16>(bf16 value) {
  return __bfloat162float(value);
}

template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) {
  return __float2bfloat16_rn(value);
}

// Eight elements, read and written 16 bytes at a time.
template <class T>
struct alignas(16) Eight {
  T values[8];
};

template <class T>
__device__ __forceinline__ Eight<T> load_eight(const T* from) {
  return *reinterpret_cast<const Eight<T>*>(from);
}
template <class T>
__device__ __forceinline__ void store_eight(T* to, const Eight<T>& eight) {
  *reinterpret_cast<Eight<T>*>(to) = eight;
}

// Sum over a warp; every lane gets it. The same tree for every caller.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

// Sum over a block of kThreads threads; every thread gets it. Ends with a barrier, so it may be called again.
template <int kThreads>
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float warps[kThreads / 32];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) total += warps[i];
  __syncthreads();
  return total;
}

// Lets the blocks of the next kernel start where there is room, then waits for the kernels before this one and sees
// their writes. What a kernel reads before it calls this must be what no kernel of an overlapped run writes: weights,
// uploads, keys of earlier steps.
__device__ __forceinline__ void begin_kernel() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// Queues a kernel that calls begin_kernel().
template <class... Parameters, class... Arguments>
cudaError_t queue_kernel(void (*kernel)(Parameters...), dim3 grid, int threads, int shared_bytes, const Queue& queue,
                         Arguments... arguments) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = queue.stream;
  config.attrs = &attribute;
  config.numAttrs = queue.overlap ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// Runs a statement with `T` set to the type of a runtime Element.
#define ASSAY_FOR_ELEMENT(element, ...) \
  do {                                  \
    if ((element) == Element::bf16) {   \
      using T = bf16;                   \
      __VA_ARGS__;                      \
    } else {                            \
      using T = float;                  \
      __VA_ARGS__;                      \
    }                                   \
  } while (false)

}  // namespace assay::cuda
