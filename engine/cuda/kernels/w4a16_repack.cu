// Checkpoint int4 order -> tensor-core order, once, at load.
#include "engine/cuda/kernels/w4a16_repack.h"

namespace assay::cuda {
namespace {

struct Source {
  W4Source in;
  int64_t n, k, words_per_row, groups_per_row;

  __device__ int64_t row(int64_t packed) const {
    if (!in.interleave_halves) return packed;
    return packed / 2 + (packed & 1 ? n / 2 : 0);
  }
  __device__ uint32_t code(int64_t packed, int64_t column) const {
    if (packed >= n || column >= k) return 8;
    return in.codes[row(packed) * words_per_row + column / 8] >> (4 * (column % 8)) & 15;
  }
  __device__ int64_t group_index(int64_t packed, int64_t column) const {
    return row(packed) * groups_per_row + column / in.group_size;
  }
};

__global__ void repack_codes(Source source, W4Shape shape, uint8_t* blocks) {
  constexpr int kWords = kCodeBytes / 4;
  const int64_t index = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (index >= shape.num_blocks() * kWords) return;
  const int64_t block = index / kWords;
  const int word = static_cast<int>(index % kWords);
  const W4WordOrigin origin = w4_word_origin(word);
  const int64_t row = block / shape.num_k_blocks * kBlockRows + origin.row;
  const int64_t column = block % shape.num_k_blocks * kBlockColumns + origin.column;
  uint32_t packed = 0;
  for (int i = 0; i < 8; ++i) {
    const int reg = i & 3, element = i >> 2;
    packed |= source.code(row + (reg & 1), column + element + 8 * (reg >> 1)) << (4 * i);
  }
  reinterpret_cast<uint32_t*>(blocks + block * shape.block_bytes())[word] = packed;
}

__global__ void repack_scales(Source source, W4Shape shape, uint8_t* blocks) {
  const int64_t per_block = int64_t{shape.sets} * kBlockRows;
  const int64_t index = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (index >= shape.num_blocks() * per_block) return;
  const int64_t block = index / per_block, k_block = block % shape.num_k_blocks;
  const int set = static_cast<int>(index % per_block / kBlockRows);
  const int64_t row = block / shape.num_k_blocks * kBlockRows + index % kBlockRows;
  const int64_t column = k_block * kBlockColumns + set * (kBlockColumns / shape.sets);
  const bool inside = row < source.n && column < source.k;
  const float scale = inside ? source.in.scales[source.group_index(row, column)] : 0.0f;
  uint8_t* to = blocks + w4_scale_offset(shape, row, k_block, set);
  *reinterpret_cast<__nv_bfloat16*>(to) = __float2bfloat16_rn(scale);
  if (!shape.has_zeros) return;
  const float zero = inside && source.in.zeros ? source.in.zeros[source.group_index(row, column)] : 0.0f;
  *reinterpret_cast<__nv_bfloat16*>(to + shape.sets * kSetBytes) = __float2bfloat16_rn(136.0f + zero);
}

unsigned grid_for(int64_t count) { return static_cast<unsigned>((count + 255) / 256); }

}  // namespace

cudaError_t repack_on_device(const W4Source& in, const W4Shape& shape, void* blocks, cudaStream_t stream) {
  const Source source{in, shape.n, shape.k, (shape.k + 7) / 8, (shape.k + in.group_size - 1) / in.group_size};
  auto* out = static_cast<uint8_t*>(blocks);
  repack_codes<<<grid_for(shape.num_blocks() * (kCodeBytes / 4)), 256, 0, stream>>>(source, shape, out);
  repack_scales<<<grid_for(shape.num_blocks() * shape.sets * kBlockRows), 256, 0, stream>>>(source, shape, out);
  return cudaGetLastError();
}

}  // namespace assay::cuda
