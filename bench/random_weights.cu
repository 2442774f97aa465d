#include "bench/random_weights.h"

namespace assay::bench {
namespace {

__device__ uint32_t random_word(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ull + index * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(z ^ (z >> 31));
}

// The largest of 128 normal weights lies near 2.7 deviations, and its scale puts it at 7.5.
__device__ uint32_t random_code(uint64_t seed, uint64_t index) {
  constexpr float kDeviation = 2.8f;
  const float radius = sqrtf(-2.0f * __logf((random_word(seed, 2 * index) + 0.5f) * 0x1p-32f));
  const float turn = random_word(seed, 2 * index + 1) * 0x1p-32f;
  const float code = rintf(kDeviation * radius * cospif(2.0f * turn));
  return static_cast<uint32_t>(fminf(fmaxf(code, -8.0f), 7.0f) + 8.0f);
}

__global__ void fill(cuda::W4Shape shape, uint32_t* words, uint64_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x, per_block = shape.block_bytes() / 4;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < shape.bytes() / 4; i += step) {
    uint32_t word = 0;
    if (i % per_block < cuda::kCodeBytes / 4)
      for (int c = 0; c < 8; ++c) word |= random_code(seed, i * 8 + c) << (4 * c);
    else  // two bf16 of 0x3C00 to 0x3C7F: 0.0078 to 0.0155
      word = 0x3C003C00u | (random_word(seed, i * 16) & 0x007F007Fu);
    words[i] = word;
  }
}

__global__ void expand(cuda::W4Shape shape, const uint8_t* blocks, __nv_bfloat16* dense) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < shape.n * shape.k; i += step) {
    const int64_t row = i / shape.k, column = i % shape.k;
    const int set = static_cast<int>(column % cuda::kBlockColumns * shape.sets / cuda::kBlockColumns);
    const cuda::W4Place place = cuda::w4_code_place(shape, row, column);
    const uint32_t code = *reinterpret_cast<const uint32_t*>(blocks + place.byte_offset) >> place.bit & 15;
    const auto scale = *reinterpret_cast<const __nv_bfloat16*>(
        blocks + cuda::w4_scale_offset(shape, row, column / cuda::kBlockColumns, set));
    dense[i] = __float2bfloat16_rn((static_cast<float>(code) - 8.0f) * __bfloat162float(scale));
  }
}

}  // namespace

void fill_blocks(const cuda::W4Shape& shape, void* blocks, uint64_t seed, cudaStream_t stream) {
  fill<<<4096, 256, 0, stream>>>(shape, static_cast<uint32_t*>(blocks), seed);
}

void expand_blocks(const cuda::W4Shape& shape, const void* blocks, __nv_bfloat16* dense, cudaStream_t stream) {
  expand<<<4096, 256, 0, stream>>>(shape, static_cast<const uint8_t*>(blocks), dense);
}

}  // namespace assay::bench
