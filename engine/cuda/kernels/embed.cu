#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void embed_rows(const T* table, const int32_t* tokens, int64_t width, float* out) {
  begin_kernel();
  const T* from = table + static_cast<int64_t>(tokens[blockIdx.x]) * width;
  float* to = out + static_cast<int64_t>(blockIdx.x) * width;
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) {
    const Eight<T> eight = load_eight(from + i);
    Eight<float> wide;
#pragma unroll
    for (int j = 0; j < 8; ++j) wide.values[j] = to_float(eight.values[j]);
    store_eight(to + i, wide);
  }
}

__global__ void copy_rows(const float4* x, const int32_t* rows_wanted, int64_t width, float4* out) {
  const float4* from = x + static_cast<int64_t>(rows_wanted[blockIdx.x]) * width;
  float4* to = out + static_cast<int64_t>(blockIdx.x) * width;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) to[i] = from[i];
}

}  // namespace

Status embed(Element element, const void* table, const int32_t* tokens, int64_t rows, int64_t width, float* out,
             const Queue& queue) {
  if (rows == 0) return ok_status();
  ASSAY_FOR_ELEMENT(element, ASSAY_CUDA(queue_kernel(embed_rows<T>, dim3(static_cast<unsigned>(rows)), kThreads, 0,
                                                     queue, static_cast<const T*>(table), tokens, width, out)));
  return check_launch("embed", queue.stream);
}

Status gather_rows(const float* x, const int32_t* rows_wanted, int64_t count, int64_t width, float* out,
                   cudaStream_t stream) {
  if (count == 0) return ok_status();
  copy_rows<<<static_cast<unsigned>(count), kThreads, 0, stream>>>(reinterpret_cast<const float4*>(x), rows_wanted,
                                                                   width / 4, reinterpret_cast<float4*>(out));
  return check_launch("gather_rows", stream);
}

}  // namespace assay::cuda
