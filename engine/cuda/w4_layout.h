#pragma once

#include <cstdint>

#include "engine/base/host_device.h"

// The one order in which int4 weights lie on the device, for every kernel; shared by host and device code.
namespace assay::cuda {

// Weights lie in blocks of 256 packed rows by 128 columns, block after block along k, then the next 256 rows: what one
// thread block streams is one contiguous range. A block holds
//   codes   u32 [2 halves of 64 columns, 4 tiles of 64 rows, 128 threads, 4 steps of 16 columns]
//   scales  u32 [sets, 16 slabs of 16 rows, 8]  bf16 of packed rows 2 i (low) and 2 i + 1 (high) of the slab
//   biases  u32 [sets, 16, 8]                   the same of 136 + zero; only where some zero is not 0
// where a set is a group of 32, 64 or 128 columns. Thread t of a tile is lane t % 32 of warp t / 32, and its four words
// are its A operands (16 x 16, row-major) of the tensor core's k16 product, which mma.sync and wgmma share. Rows are
// permuted inside a slab so that a lane's two rows are neighbors: fragment row f < 8 is slab row 2 f, f + 8 is 2 f + 1.
inline constexpr int kBlockRows = 256;
inline constexpr int kBlockColumns = 128;
inline constexpr int kTileRows = 64;
inline constexpr int kHalfColumns = 64;
inline constexpr int kSlabRows = 16;
inline constexpr int kCodeBytes = kBlockRows * kBlockColumns / 2;
inline constexpr int kHalfCodeBytes = kCodeBytes / 2;
inline constexpr int kTileCodeBytes = kTileRows * kHalfColumns / 2;
inline constexpr int kSetBytes = kBlockRows * 2;

struct W4Shape {
  int64_t n = 0;               // outputs: packed rows that hold a row of W
  int64_t k = 0;               // columns
  int64_t num_block_rows = 0;  // ceil(n / 256)
  int64_t num_k_blocks = 0;    // ceil(k / 128)
  int sets = 1;                // groups in 128 columns: 1, 2 or 4
  bool has_zeros = false;

  ASSAY_HOST_DEVICE int64_t block_bytes() const { return kCodeBytes + sets * kSetBytes * (has_zeros ? 2 : 1); }
  ASSAY_HOST_DEVICE int64_t num_blocks() const { return num_block_rows * num_k_blocks; }
  ASSAY_HOST_DEVICE int64_t bytes() const { return num_blocks() * block_bytes(); }
};

// Where a code lies: byte offset of its 32-bit word, and its lowest bit there.
struct W4Place {
  int64_t byte_offset = 0;
  int bit = 0;
};

// Word index inside a block's codes -> the first packed row and column that its thread holds. Its eight nibbles are
// fragment registers r = 0..3, elements e = 0..1 at bit 4 * (r + 4 * e): row + (r & 1), column + e + 8 * (r >> 1).
struct W4WordOrigin {
  int row = 0, column = 0;
};

ASSAY_HOST_DEVICE inline W4WordOrigin w4_word_origin(int word) {
  const int step = word & 3, thread = (word >> 2) & 127, tile = (word >> 9) & 3, half = word >> 11;
  const int lane = thread & 31, warp = thread >> 5;
  return {tile * kTileRows + warp * kSlabRows + 2 * (lane >> 2), half * kHalfColumns + step * 16 + 2 * (lane & 3)};
}

// The place of packed row `row`, column `column`.
ASSAY_HOST_DEVICE inline W4Place w4_code_place(const W4Shape& shape, int64_t row, int64_t column) {
  const int r = static_cast<int>(row % kBlockRows), c = static_cast<int>(column % kBlockColumns);
  const int tile = r / kTileRows, warp = r % kTileRows / kSlabRows, half = c / kHalfColumns,
            step = c % kHalfColumns / 16;
  const int group = r % kSlabRows / 2, quad = c % 8 / 2;
  const int thread = warp * 32 + group * 4 + quad;
  const int reg = (r & 1) + 2 * (c % 16 / 8), element = c & 1;
  const int word = ((half * 4 + tile) * 128 + thread) * 4 + step;
  const int64_t block = row / kBlockRows * shape.num_k_blocks + column / kBlockColumns;
  return {block * shape.block_bytes() + word * 4, 4 * (reg + 4 * element)};
}

// Byte offset of the bf16 scale of packed row `row` in set `set` of k block `k_block`; its bias, where there are any,
// lies sets * kSetBytes further.
ASSAY_HOST_DEVICE inline int64_t w4_scale_offset(const W4Shape& shape, int64_t row, int64_t k_block, int set) {
  const int64_t block = row / kBlockRows * shape.num_k_blocks + k_block;
  return block * shape.block_bytes() + kCodeBytes + set * kSetBytes + row % kBlockRows * 2;
}

}  // namespace assay::cuda
