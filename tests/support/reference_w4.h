#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

// Plain device loops for the tests and benches of the int4 kernels.
namespace assay::testing {

// Random input, other for every seed: codes of any bits, scales about 0.01 and exact in bf16, zeros -8 to 7,
// activations about 1.
void fill_codes(uint32_t* codes, int64_t words, uint64_t seed, cudaStream_t stream);
void fill_scales(float* scales, int64_t count, uint64_t seed, cudaStream_t stream);
void fill_zeros(int8_t* zeros, int64_t count, uint64_t seed, cudaStream_t stream);
void fill_bf16(__nv_bfloat16* x, int64_t count, uint64_t seed, cudaStream_t stream);
void fill_floats(float* x, int64_t count, uint64_t seed, cudaStream_t stream);

// out[m, n] = sum over c of x[m, c] round_bf16((code - 8 - zero) * scale), column after column in float32.
struct ReferenceW4 {
  const uint32_t* codes = nullptr;  // [n, ceil(k / 8)]
  const float* scales = nullptr;    // [n, num_groups]
  const int8_t* zeros = nullptr;    // or null
  int64_t n = 0, k = 0, group_size = 0;
};
void reference_matmul(const ReferenceW4& w, const __nv_bfloat16* x, int64_t m, float* out, cudaStream_t stream);

}  // namespace assay::testing
