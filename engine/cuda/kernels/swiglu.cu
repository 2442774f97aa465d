#include <algorithm>

#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"
#include "engine/cuda/kernels/silu.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void swiglu_rows(const T* gate_up, int64_t width, T* out, int64_t out_ld) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 8;
  if (i >= width) return;
  const T* row = gate_up + static_cast<int64_t>(blockIdx.y) * 2 * width;
  const Eight<T> gate = load_eight(row + i), up = load_eight(row + width + i);
  Eight<T> result;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    result.values[j] = from_float<T>(silu(to_float(gate.values[j])) * to_float(up.values[j]));
  }
  store_eight(out + static_cast<int64_t>(blockIdx.y) * out_ld + i, result);
}

template <class T>
__global__ void finish_rows(const float* sums, const float* bias, int64_t n, Epilogue::Kind kind, void* out,
                            int64_t ld) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t row = blockIdx.y;
  const float sum = sums[row * n + i] + bias[i];
  const int64_t at = row * ld + i;
  if (kind == Epilogue::Kind::store) {
    static_cast<T*>(out)[at] = from_float<T>(sum);
  } else if (kind == Epilogue::Kind::add) {
    static_cast<float*>(out)[at] += sum;
  } else {
    static_cast<float*>(out)[at] = sum;
  }
}

// Rows go to the grid's second dimension, which holds 65,535.
constexpr int64_t kRowsPerLaunch = 65535;

dim3 grid_of(int64_t pieces, int64_t rows) {
  return {static_cast<unsigned>((pieces + kThreads - 1) / kThreads), static_cast<unsigned>(rows)};
}

}  // namespace

Status swiglu(Element element, const void* gate_up, int64_t rows, int64_t width, void* out, int64_t out_ld,
              cudaStream_t stream) {
  for (int64_t first = 0; first < rows; first += kRowsPerLaunch) {
    const dim3 grid = grid_of(width / 8, std::min(kRowsPerLaunch, rows - first));
    ASSAY_FOR_ELEMENT(
        element, swiglu_rows<T><<<grid, kThreads, 0, stream>>>(static_cast<const T*>(gate_up) + first * 2 * width,
                                                               width, static_cast<T*>(out) + first * out_ld, out_ld));
    ASSAY_TRY(check_launch("swiglu", stream));
  }
  return ok_status();
}

Status finish_product(Element element, const float* sums, const float* bias, int64_t rows, int64_t n,
                      const Epilogue& epilogue, cudaStream_t stream) {
  const int64_t out_bytes = epilogue.kind == Epilogue::Kind::store ? element_bytes(element) : 4;
  for (int64_t first = 0; first < rows; first += kRowsPerLaunch) {
    const dim3 grid = grid_of(n, std::min(kRowsPerLaunch, rows - first));
    void* out = static_cast<char*>(epilogue.out) + first * epilogue.ld * out_bytes;
    ASSAY_FOR_ELEMENT(element, finish_rows<T>
                      <<<grid, kThreads, 0, stream>>>(sums + first * n, bias, n, epilogue.kind, out, epilogue.ld));
    ASSAY_TRY(check_launch("finish_product", stream));
  }
  return ok_status();
}

}  // namespace assay::cuda
