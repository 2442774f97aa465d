#include "bench/gpu_peaks.h"

namespace assay::bench {
namespace {

__global__ void __launch_bounds__(512) sum_words(const uint4* data, int64_t count, uint32_t* sink) {
  constexpr int kAtOnce = 8;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  uint32_t sum = 0;
  for (; i + (kAtOnce - 1) * step < count; i += kAtOnce * step) {
    uint4 v[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) v[j] = __ldcs(data + i + j * step);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  for (; i < count; i += step) sum += data[i].x ^ data[i].y ^ data[i].z ^ data[i].w;
  if (sum == 0x12345678u) atomicAdd(sink, sum);
}

__device__ uint32_t random_word(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ull + index * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(z ^ (z >> 31));
}

__global__ void fill(cuda::W4Shape shape, uint32_t* words, uint64_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x, per_block = shape.block_bytes() / 4;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < shape.bytes() / 4; i += step) {
    const uint32_t random = random_word(seed, i);
    const bool code = i % per_block < cuda::kCodeBytes / 4;
    // bf16 0x3C00 to 0x3C7F: 0.0078 to 0.0155
    words[i] = code ? random : 0x3C003C00u | (random & 0x007F007Fu);
  }
}

}  // namespace

void read_all(const void* data, int64_t bytes, uint32_t* sink, cudaStream_t stream) {
  sum_words<<<132 * 4, 512, 0, stream>>>(static_cast<const uint4*>(data), bytes / 16, sink);
}

void fill_blocks(const cuda::W4Shape& shape, void* blocks, uint64_t seed, cudaStream_t stream) {
  fill<<<4096, 256, 0, stream>>>(shape, static_cast<uint32_t*>(blocks), seed);
}

}  // namespace assay::bench
