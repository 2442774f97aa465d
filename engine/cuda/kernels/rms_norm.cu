#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;

// A row a block. Sums lie in the same lanes whatever else runs, so a row's bits depend on the row only.
template <class T>
__global__ void __launch_bounds__(kThreads)
    normalize_rows(const float* x, const float* weight, int64_t width, float eps, T* out) {
  begin_kernel();
  const float* row = x + static_cast<int64_t>(blockIdx.x) * width;
  float squares = 0;
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) {
    const Eight<float> eight = load_eight(row + i);
#pragma unroll
    for (int j = 0; j < 8; ++j) squares = __fmaf_rn(eight.values[j], eight.values[j], squares);
  }
  const float mean = __fdiv_rn(block_sum<kThreads>(squares), static_cast<float>(width));
  const float factor = __fdiv_rn(1.0f, __fsqrt_rn(mean + eps));
  T* to = out + static_cast<int64_t>(blockIdx.x) * width;
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) {
    const Eight<float> eight = load_eight(row + i), weights = load_eight(weight + i);
    Eight<T> result;
#pragma unroll
    for (int j = 0; j < 8; ++j) result.values[j] = from_float<T>(eight.values[j] * factor * weights.values[j]);
    store_eight(to + i, result);
  }
}

}  // namespace

Status rms_norm(Element element, const float* x, const float* weight, int64_t rows, int64_t width, float eps, void* out,
                const Queue& queue) {
  if (rows == 0) return ok_status();
  ASSAY_FOR_ELEMENT(element, ASSAY_CUDA(queue_kernel(normalize_rows<T>, dim3(static_cast<unsigned>(rows)), kThreads, 0,
                                                     queue, x, weight, width, eps, static_cast<T*>(out))));
  return check_launch("rms_norm", queue.stream);
}

}  // namespace assay::cuda
