#include "engine/cuda/repack.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/base/check.h"

namespace assay::cuda {
namespace {

constexpr uint32_t kZeroCode = 8;

// bf16 of 136 + zero, exact: the bf16 of 128 plus a number of ulps of 1.
uint16_t bias_bits(int zero) { return static_cast<uint16_t>(0x4300 + 8 + zero); }

struct Packer {
  const W4Rows& rows;
  const W4Shape& shape;
  int64_t words_per_row = 0, groups_per_row = 0;

  int64_t source_row(int64_t packed) const {
    if (!rows.interleave_halves) return packed;
    return packed / 2 + (packed % 2 == 1 ? shape.n / 2 : 0);
  }
  uint32_t code(int64_t packed, int64_t column) const {
    if (packed >= shape.n || column >= shape.k) return kZeroCode;
    return rows.codes[static_cast<size_t>(source_row(packed) * words_per_row + column / 8)] >> (4 * (column % 8)) & 15;
  }

  uint32_t word(int64_t row, int64_t column) const {
    uint32_t packed = 0;
    for (int i = 0; i < 8; ++i) {
      const int reg = i & 3, element = i >> 2;
      packed |= code(row + (reg & 1), column + element + 8 * (reg >> 1)) << (4 * i);
    }
    return packed;
  }

  void pack_codes(int64_t block_row, int64_t k_block, uint8_t* block) const {
    for (int i = 0; i < kCodeBytes / 4; ++i) {
      const W4WordOrigin origin = w4_word_origin(i);
      const uint32_t packed = word(block_row * kBlockRows + origin.row, k_block * kBlockColumns + origin.column);
      std::memcpy(block + i * 4, &packed, 4);
    }
  }

  void pack_scales(int64_t block_row, int64_t k_block, uint8_t* blocks) const {
    for (int set = 0; set < shape.sets; ++set) {
      const int64_t column = k_block * kBlockColumns + set * (kBlockColumns / shape.sets);
      for (int64_t row = block_row * kBlockRows; row < (block_row + 1) * kBlockRows; ++row) {
        const bool inside = row < shape.n && column < shape.k;
        const auto group =
            static_cast<size_t>(inside ? source_row(row) * groups_per_row + column / rows.group_size : 0);
        const uint16_t scale = inside ? rows.scales[group] : uint16_t{0};
        uint8_t* to = blocks + w4_scale_offset(shape, row, k_block, set);
        std::memcpy(to, &scale, 2);
        if (!shape.has_zeros) continue;
        const uint16_t bias = bias_bits(inside && !rows.zeros.empty() ? rows.zeros[group] : 0);
        std::memcpy(to + shape.sets * kSetBytes, &bias, 2);
      }
    }
  }
};

}  // namespace

Result<W4Shape> w4_shape(int64_t n, int64_t k, int64_t group_size, bool has_zeros) {
  const bool whole_row = group_size >= k;
  if (!whole_row && group_size != 32 && group_size != 64 && (group_size <= 0 || group_size % kBlockColumns != 0))
    return unsupported(
        fmt::format("w4a16: group size {}, expected 32, 64, a multiple of 128 or one group a row", group_size));
  if (n < 1 || k < 8 || k % 8 != 0)
    return unsupported(fmt::format("w4a16: a matrix of {} by {}, expected columns in eights", n, k));
  W4Shape shape;
  shape.n = n, shape.k = k;
  shape.num_block_rows = (n + kBlockRows - 1) / kBlockRows;
  shape.num_k_blocks = (k + kBlockColumns - 1) / kBlockColumns;
  shape.sets = whole_row || group_size >= kBlockColumns ? 1 : static_cast<int>(kBlockColumns / group_size);
  shape.has_zeros = has_zeros;
  return shape;
}

std::vector<uint8_t> pack_w4(const W4Rows& rows, const W4Shape& shape) {
  const Packer packer{rows, shape, (shape.k + 7) / 8, (shape.k + rows.group_size - 1) / rows.group_size};
  ASSAY_CHECK(static_cast<int64_t>(rows.codes.size()) == shape.n * packer.words_per_row);
  ASSAY_CHECK(static_cast<int64_t>(rows.scales.size()) == shape.n * packer.groups_per_row);
  std::vector<uint8_t> blocks(static_cast<size_t>(shape.bytes()));
  for (int64_t block_row = 0; block_row < shape.num_block_rows; ++block_row)
    for (int64_t k_block = 0; k_block < shape.num_k_blocks; ++k_block) {
      const int64_t block = block_row * shape.num_k_blocks + k_block;
      packer.pack_codes(block_row, k_block, blocks.data() + block * shape.block_bytes());
      packer.pack_scales(block_row, k_block, blocks.data());
    }
  return blocks;
}

}  // namespace assay::cuda
