#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// int4 codes -> bf16 operands of the tensor core.
namespace assay::cuda {

// A bf16 of 128 with a code in its low mantissa bits is 128 + code exactly.
inline constexpr uint32_t kCodeMask = 0x000F000Fu;
inline constexpr uint32_t kPairOf128 = 0x43004300u;
inline constexpr uint32_t kPairOf136 = 0x43084308u;

__device__ inline __nv_bfloat162 as_pair(uint32_t bits) { return reinterpret_cast<__nv_bfloat162&>(bits); }
__device__ inline uint32_t as_bits(__nv_bfloat162 pair) { return reinterpret_cast<uint32_t&>(pair); }
__device__ inline uint32_t spread_low(uint32_t bits) { return __byte_perm(bits, 0, 0x1010); }
__device__ inline uint32_t spread_high(uint32_t bits) { return __byte_perm(bits, 0, 0x3232); }

// What two neighboring rows of a group share: scale of the even and of the odd row, each in both halves of a word.
struct GroupScale {
  uint32_t scale[2];
  uint32_t bias[2];  // 136 + zero

  __device__ void set(uint32_t scale_word) {
    scale[0] = spread_low(scale_word), scale[1] = spread_high(scale_word);
    bias[0] = bias[1] = kPairOf136;
  }
  __device__ void set(uint32_t scale_word, uint32_t bias_word) {
    scale[0] = spread_low(scale_word), scale[1] = spread_high(scale_word);
    bias[0] = spread_low(bias_word), bias[1] = spread_high(bias_word);
  }
};

// One word of codes -> the A fragment of one k16 step, each element round_bf16((code - 8 - zero) * scale).
__device__ inline void dequantize(uint32_t codes, const GroupScale& group, uint32_t (&a)[4]) {
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    uint32_t magic;  // (codes >> 4 r) & mask | 128 in one logic operation after the shift
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(magic) : "r"(codes >> (4 * r)), "n"(kCodeMask), "n"(kPairOf128));
    a[r] = as_bits(__hmul2(__hsub2(as_pair(magic), as_pair(group.bias[r & 1])), as_pair(group.scale[r & 1])));
  }
}

}  // namespace assay::cuda
