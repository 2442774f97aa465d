#include "tests/support/reference_w4.h"

namespace assay::testing {
namespace {

__device__ uint64_t random_bits(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ull + index * 0xBF58476D1CE4E5B9ull + 0x94D049BB133111EBull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// About normal: the sum of four uniform numbers.
__device__ float random_normal(uint64_t seed, uint64_t index) {
  const uint64_t bits = random_bits(seed, index);
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>(bits >> (16 * i) & 0xFFFF) / 65536.0f - 0.5f;
  return sum * 1.7320508f;
}

enum class Kind { codes, scales, zeros, bf16, floats };

template <Kind kKind, class T>
__global__ void fill(T* out, int64_t count, uint64_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    if constexpr (kKind == Kind::codes) out[i] = static_cast<uint32_t>(random_bits(seed, i));
    if constexpr (kKind == Kind::zeros) out[i] = static_cast<int8_t>(static_cast<int>(random_bits(seed, i) & 15) - 8);
    if constexpr (kKind == Kind::scales)
      out[i] = __bfloat162float(
          __float2bfloat16_rn(0.002f + 0.02f * static_cast<float>(random_bits(seed, i) & 0xFFFF) / 65536.0f));
    if constexpr (kKind == Kind::bf16) out[i] = __float2bfloat16_rn(random_normal(seed, i));
    if constexpr (kKind == Kind::floats) out[i] = random_normal(seed, i);
  }
}

template <Kind kKind, class T>
void launch_fill(T* out, int64_t count, uint64_t seed, cudaStream_t stream) {
  const int64_t blocks = (count + 255) / 256;
  fill<kKind><<<static_cast<unsigned>(blocks < 4096 ? blocks : 4096), 256, 0, stream>>>(out, count, seed);
}

__global__ void multiply(ReferenceW4 w, const __nv_bfloat16* x, int64_t m, float* out) {
  const int64_t index = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (index >= m * w.n) return;
  const int64_t row = index % w.n, token = index / w.n;
  const int64_t words = (w.k + 7) / 8, groups = (w.k + w.group_size - 1) / w.group_size;
  float sum = 0;
  for (int64_t c = 0; c < w.k; ++c) {
    const int code = static_cast<int>(w.codes[row * words + c / 8] >> (4 * (c % 8)) & 15);
    const int64_t group = row * groups + c / w.group_size;
    const int zero = w.zeros ? w.zeros[group] : 0;
    const float weight = __bfloat162float(__float2bfloat16_rn(static_cast<float>(code - 8 - zero) * w.scales[group]));
    sum += __bfloat162float(x[token * w.k + c]) * weight;
  }
  out[index] = sum;
}

}  // namespace

void fill_codes(uint32_t* codes, int64_t words, uint64_t seed, cudaStream_t stream) {
  launch_fill<Kind::codes>(codes, words, seed, stream);
}
void fill_scales(float* scales, int64_t count, uint64_t seed, cudaStream_t stream) {
  launch_fill<Kind::scales>(scales, count, seed, stream);
}
void fill_zeros(int8_t* zeros, int64_t count, uint64_t seed, cudaStream_t stream) {
  launch_fill<Kind::zeros>(zeros, count, seed, stream);
}
void fill_bf16(__nv_bfloat16* x, int64_t count, uint64_t seed, cudaStream_t stream) {
  launch_fill<Kind::bf16>(x, count, seed, stream);
}
void fill_floats(float* x, int64_t count, uint64_t seed, cudaStream_t stream) {
  launch_fill<Kind::floats>(x, count, seed, stream);
}

void reference_matmul(const ReferenceW4& w, const __nv_bfloat16* x, int64_t m, float* out, cudaStream_t stream) {
  multiply<<<static_cast<unsigned>((m * w.n + 255) / 256), 256, 0, stream>>>(w, x, m, out);
}

}  // namespace assay::testing
