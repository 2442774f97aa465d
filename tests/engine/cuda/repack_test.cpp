#include "engine/cuda/repack.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

namespace assay::cuda {
namespace {

struct Matrix {
  int64_t n, k, group_size;
  std::vector<uint32_t> codes;
  std::vector<uint16_t> scales;
  std::vector<int8_t> zeros;

  int64_t groups() const { return (k + group_size - 1) / group_size; }
  uint32_t code(int64_t row, int64_t column) const {
    return codes[static_cast<size_t>(row * ((k + 7) / 8) + column / 8)] >> (4 * (column % 8)) & 15;
  }
};

Matrix random_matrix(int64_t n, int64_t k, int64_t group_size, bool zeros) {
  Matrix matrix{n, k, group_size, {}, {}, {}};
  std::mt19937 bits(static_cast<unsigned>(n * 31 + k * 7 + group_size));
  matrix.codes.resize(static_cast<size_t>(n * ((k + 7) / 8)));
  for (uint32_t& word : matrix.codes) word = bits();
  matrix.scales.resize(static_cast<size_t>(n * matrix.groups()));
  for (uint16_t& scale : matrix.scales) scale = static_cast<uint16_t>(0x3C00 + bits() % 256);
  if (zeros) matrix.zeros.resize(matrix.scales.size());
  for (int8_t& zero : matrix.zeros) zero = static_cast<int8_t>(static_cast<int>(bits() % 16) - 8);
  return matrix;
}

uint16_t read_16(const std::vector<uint8_t>& bytes, int64_t at) {
  uint16_t value;
  std::memcpy(&value, bytes.data() + at, 2);
  return value;
}

// The inverse, from the definition of the tensor core's A fragment rather than from the packer's formulas: lane l of a
// warp holds in register r rows l / 4 + 8 (r % 2) and columns 2 (l % 4) + 8 (r / 2) + {0, 1} of a 16 x 16 tile, and
// fragment rows f, f + 8 are rows 2 f, 2 f + 1 of the slab.
std::vector<int> unpack_codes(const std::vector<uint8_t>& blocks, const W4Shape& shape) {
  const int64_t rows = shape.num_block_rows * 256, columns = shape.num_k_blocks * 128;
  std::vector<int> codes(static_cast<size_t>(rows * columns), -1);
  for (int64_t block = 0; block < shape.num_blocks(); ++block) {
    const uint8_t* word_bytes = blocks.data() + block * shape.block_bytes();
    for (int half = 0; half < 2; ++half)
      for (int slab = 0; slab < 16; ++slab)
        for (int lane = 0; lane < 32; ++lane)
          for (int step = 0; step < 4; ++step, word_bytes += 4) {
            uint32_t word;
            std::memcpy(&word, word_bytes, 4);
            for (int r = 0; r < 4; ++r)
              for (int e = 0; e < 2; ++e) {
                const int fragment_row = lane / 4 + 8 * (r % 2), slab_row = fragment_row % 8 * 2 + fragment_row / 8;
                const int column_in_tile = 2 * (lane % 4) + 8 * (r / 2) + e;
                const int64_t row = block / shape.num_k_blocks * 256 + slab * 16 + slab_row;
                const int64_t column = block % shape.num_k_blocks * 128 + half * 64 + step * 16 + column_in_tile;
                const int bit = 4 * r + 16 * e;
                codes[static_cast<size_t>(row * columns + column)] = static_cast<int>(word >> bit & 15);
              }
          }
  }
  return codes;
}

void check_packing(int64_t n, int64_t k, int64_t group_size, bool zeros, bool interleave) {
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(group_size);
  const Matrix matrix = random_matrix(n, k, group_size, zeros);
  const W4Shape shape = w4_shape(n, k, group_size, zeros).value();
  const std::vector<uint8_t> blocks =
      pack_w4({matrix.codes, matrix.scales, matrix.zeros, group_size, interleave}, shape);
  const std::vector<int> codes = unpack_codes(blocks, shape);
  const int64_t columns = shape.num_k_blocks * 128;
  int64_t wrong = 0;
  for (int64_t packed = 0; packed < n; ++packed) {
    const int64_t row = interleave ? packed / 2 + packed % 2 * (n / 2) : packed;
    for (int64_t c = 0; c < k; ++c) {
      wrong += codes[static_cast<size_t>(packed * columns + c)] != static_cast<int>(matrix.code(row, c));
      const auto group = static_cast<size_t>(row * matrix.groups() + c / group_size);
      const int64_t at = w4_scale_offset(shape, packed, c / 128, static_cast<int>(c % 128 * shape.sets / 128));
      wrong += read_16(blocks, at) != matrix.scales[group];
      if (zeros) wrong += read_16(blocks, at + shape.sets * 512) != 0x4308 + matrix.zeros[group];
      const W4Place place = w4_code_place(shape, packed, c);
      wrong += (blocks[static_cast<size_t>(place.byte_offset + place.bit / 8)] >> (place.bit % 8) & 15) !=
               static_cast<int>(matrix.code(row, c));
    }
  }
  CHECK(wrong == 0);
  for (const int code : codes) REQUIRE(code >= 0);
}

}  // namespace

TEST_CASE("packing keeps every code, scale and zero of every group size, where the tensor core wants it") {
  for (const int64_t group : {32, 64, 128, 256})
    for (const bool zeros : {false, true}) check_packing(512, 512, group, zeros, false);
}

TEST_CASE("packing pads what is no multiple of a block, and repeats the scale of a group that is a whole row") {
  check_packing(300, 200, 200, false, false);
  check_packing(40, 136, 32, true, false);
  check_packing(576, 1536, 64, false, false);
}

TEST_CASE("gate and up rows alternate where the swiglu epilogue asks for it") {
  check_packing(384, 256, 128, false, true);
  check_packing(384, 256, 32, true, true);
}

TEST_CASE("weights outside the matrix have scale 0") {
  const Matrix matrix = random_matrix(10, 8, 8, false);
  const W4Shape shape = w4_shape(10, 8, 8, false).value();
  const std::vector<uint8_t> blocks = pack_w4({matrix.codes, matrix.scales, {}, 8, false}, shape);
  for (int64_t row = 10; row < 256; ++row) CHECK(read_16(blocks, w4_scale_offset(shape, row, 0, 0)) == 0);
}

TEST_CASE("group sizes without a kernel are refused by name") {
  const Result<W4Shape> odd = w4_shape(64, 4096, 48, false);
  CHECK(odd.status().code() == Code::unsupported);
  CHECK(odd.status().message().find("48") != std::string::npos);
  CHECK(w4_shape(64, 4096, 4096, false).value().sets == 1);
  CHECK(w4_shape(64, 4096, 0, false).status().code() == Code::unsupported);
  CHECK(w4_shape(64, 4100, 128, false).status().code() == Code::unsupported);
}

}  // namespace assay::cuda
