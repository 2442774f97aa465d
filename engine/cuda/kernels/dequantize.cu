#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;

// A word of eight codes a thread.
template <class T>
__global__ void dequantize_words(const uint32_t* codes, const float* scales, const int8_t* zeros, const int32_t* groups,
                                 int64_t group_size, int64_t num_groups, int64_t k, int64_t first_row, int64_t words,
                                 T* out) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= words) return;
  const int64_t words_per_row = k / 8, row = first_row + index / words_per_row, column = index % words_per_row * 8;
  const uint32_t word = codes[row * words_per_row + column / 8];
  Eight<T> result;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int64_t group = groups ? groups[column + j] : (column + j) / group_size;
    const int64_t at = row * num_groups + group;
    const int code = static_cast<int>(word >> (4 * j) & 15u) - 8 - (zeros ? zeros[at] : 0);
    result.values[j] = from_float<T>(__bfloat162float(__float2bfloat16_rn(static_cast<float>(code) * scales[at])));
  }
  store_eight(out + index * 8, result);
}

}  // namespace

Status dequantize_int4(Element element, const Int4Weight& weight, int64_t k, int64_t first_row, int64_t count,
                       void* out, cudaStream_t stream) {
  const int64_t words = count * (k / 8);
  if (words == 0) return ok_status();
  const auto blocks = static_cast<unsigned>((words + kThreads - 1) / kThreads);
  ASSAY_FOR_ELEMENT(element, dequantize_words<T><<<blocks, kThreads, 0, stream>>>(
                                 weight.codes.as<uint32_t>(), weight.scales.as<float>(), weight.zeros.as<int8_t>(),
                                 weight.group_of_column.as<int32_t>(), weight.group_size, weight.num_groups, k,
                                 first_row, words, static_cast<T*>(out)));
  return check_launch("dequantize_int4", stream);
}

}  // namespace assay::cuda
