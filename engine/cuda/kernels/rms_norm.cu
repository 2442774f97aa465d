#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ __forceinline__ Eight<T> normalized(const Eight<float>& x, const Eight<float>& weights, float factor) {
  Eight<T> result;
#pragma unroll
  for (int j = 0; j < 8; ++j) result.values[j] = from_float<T>(x.values[j] * factor * weights.values[j]);
  return result;
}

__device__ __forceinline__ float add_squares(const Eight<float>& x, float squares) {
#pragma unroll
  for (int j = 0; j < 8; ++j) squares = __fmaf_rn(x.values[j], x.values[j], squares);
  return squares;
}

__device__ __forceinline__ float factor_of(float squares, int64_t width, float eps) {
  return __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(width)) + eps));
}

// A row a block. Sums lie in the same lanes whatever else runs, so a row's bits depend on the row only.
template <class T>
__global__ void __launch_bounds__(kThreads)
    normalize_rows(const float* x, const float* weight, int64_t width, float eps, T* out) {
  begin_kernel();
  const float* row = x + static_cast<int64_t>(blockIdx.x) * width;
  float squares = 0;
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) squares = add_squares(load_eight(row + i), squares);
  const float factor = factor_of(block_sum<kThreads>(squares), width, eps);
  T* to = out + static_cast<int64_t>(blockIdx.x) * width;
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8)
    store_eight(to + i, normalized<T>(load_eight(row + i), load_eight(weight + i), factor));
}

// The same for rows of at most 8 kBlock elements: a thread keeps its eight, and the weights, which no kernel writes,
// are there before the row is.
template <class T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    normalize_short_rows(const float* x, const float* weight, int64_t width, float eps, T* out) {
  const int64_t i = threadIdx.x * 8;
  const bool inside = i < width;
  Eight<float> weights = {}, mine = {};
  if (inside) weights = load_eight(weight + i);
  begin_kernel();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * width;
  if (inside) mine = load_eight(x + row + i);
  const float factor = factor_of(block_sum<kBlock>(add_squares(mine, 0)), width, eps);
  if (inside) store_eight(out + row + i, normalized<T>(mine, weights, factor));
}

template <class T>
struct Choice {
  void (*kernel)(const float*, const float*, int64_t, float, T*);
  int threads;
};

template <class T>
Choice<T> choose(int64_t width) {
  if (width <= 8 * 128) return {normalize_short_rows<T, 128>, 128};
  if (width <= 8 * 256) return {normalize_short_rows<T, 256>, 256};
  if (width <= 8 * 512) return {normalize_short_rows<T, 512>, 512};
  if (width <= 8 * 640) return {normalize_short_rows<T, 640>, 640};
  if (width <= 8 * 1024) return {normalize_short_rows<T, 1024>, 1024};
  return {normalize_rows<T>, kThreads};
}

template <class T>
cudaError_t launch(const float* x, const float* weight, int64_t rows, int64_t width, float eps, T* out,
                   const Queue& queue) {
  const Choice<T> choice = choose<T>(width);
  return queue_kernel(choice.kernel, dim3(static_cast<unsigned>(rows)), choice.threads, 0, queue, x, weight, width, eps,
                      out);
}

}  // namespace

Status rms_norm(Element element, const float* x, const float* weight, int64_t rows, int64_t width, float eps, void* out,
                const Queue& queue) {
  if (rows == 0) return ok_status();
  ASSAY_FOR_ELEMENT(element, ASSAY_CUDA(launch(x, weight, rows, width, eps, static_cast<T*>(out), queue)));
  return check_launch("rms_norm", queue.stream);
}

}  // namespace assay::cuda
