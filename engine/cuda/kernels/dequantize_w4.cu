// Tensor-core order -> dense rows: what given tokens are multiplied with where the dense weights do not fit beside the
// packed ones.
#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPiecesPerBlock = kCodeBytes / 16;  // a thread's four words: 2 rows of 64 columns, shared by 4 lanes

__device__ __forceinline__ uint32_t pair_of(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// Four lanes hold pieces of four chunks each; afterwards lane q holds the four pieces of chunk q.
__device__ __forceinline__ void transpose_quad(uint32_t (&p)[4], int q) {
  const bool upper = q & 2, odd = q & 1;
  const uint32_t a = __shfl_xor_sync(0xffffffffu, upper ? p[0] : p[2], 2);
  const uint32_t b = __shfl_xor_sync(0xffffffffu, upper ? p[1] : p[3], 2);
  if (upper) {
    p[0] = a, p[1] = b;
  } else {
    p[2] = a, p[3] = b;
  }
  const uint32_t c = __shfl_xor_sync(0xffffffffu, odd ? p[0] : p[1], 1);
  const uint32_t d = __shfl_xor_sync(0xffffffffu, odd ? p[2] : p[3], 1);
  if (odd) {
    p[0] = c, p[2] = d;
  } else {
    p[1] = c, p[3] = d;
  }
}

__global__ void __launch_bounds__(kThreads)
    dequantize_blocks(const uint8_t* blocks, W4Shape shape, bool interleaved, bf16* out) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t block = index / kPiecesPerBlock, k_block = block % shape.num_k_blocks;
  const int piece = static_cast<int>(index % kPiecesPerBlock), q = piece & 3;
  const uint8_t* from = blocks + block * shape.block_bytes();
  const uint4 codes = reinterpret_cast<const uint4*>(from)[piece];
  const uint32_t words[4] = {codes.x, codes.y, codes.z, codes.w};
  const W4WordOrigin origin = w4_word_origin(piece * 4);
  const int half_column = origin.column / kHalfColumns * kHalfColumns;
  const int64_t first_row = block / shape.num_k_blocks * kBlockRows + origin.row;
  const int64_t first_column = k_block * kBlockColumns + half_column;

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    uint32_t pieces[2][4];
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      const int set = (half_column + step * 16) * shape.sets / kBlockColumns;
      const uint8_t* metas = from + kCodeBytes + set * kSetBytes + (origin.row + r) * 2;
      const float scale = __bfloat162float(*reinterpret_cast<const bf16*>(metas));
      const float bias = shape.has_zeros
                             ? __bfloat162float(*reinterpret_cast<const bf16*>(metas + shape.sets * kSetBytes)) - 128.0f
                             : 8.0f;
#pragma unroll
      for (int high = 0; high < 2; ++high) {
        const int nibble = r + 2 * high;
        const auto first = static_cast<float>(words[step] >> (4 * nibble) & 15u);
        const auto second = static_cast<float>(words[step] >> (4 * (nibble + 4)) & 15u);
        pieces[step / 2][step % 2 * 2 + high] = pair_of((first - bias) * scale, (second - bias) * scale);
      }
    }
    transpose_quad(pieces[0], q);
    transpose_quad(pieces[1], q);
    const int64_t packed_row = first_row + r;
    if (packed_row >= shape.n) continue;
    const int64_t row = interleaved ? packed_row / 2 + (packed_row & 1 ? shape.n / 2 : 0) : packed_row;
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const int64_t column = first_column + (part * 4 + q) * 8;
      if (column >= shape.k) continue;
      *reinterpret_cast<uint4*>(out + row * shape.k + column) =
          make_uint4(pieces[part][0], pieces[part][1], pieces[part][2], pieces[part][3]);
    }
  }
}

}  // namespace

Status dequantize_w4(const W4Weight& weight, void* out, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(weight.shape.num_blocks() * kPiecesPerBlock / kThreads);
  dequantize_blocks<<<grid, kThreads, 0, stream>>>(weight.blocks.as<uint8_t>(), weight.shape, weight.interleaved,
                                                   static_cast<bf16*>(out));
  return check_launch("dequantize_w4", stream);
}

}  // namespace assay::cuda
