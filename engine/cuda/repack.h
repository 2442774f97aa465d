#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"
#include "engine/cuda/w4_layout.h"

namespace assay::cuda {

// The packed shape of an int4 matrix of n rows and k columns in groups of `group_size` columns; k or more: one group a
// row. Errors: unsupported for a group size that is no multiple of 128 and none of 32 and 64, or k no multiple of 8.
Result<W4Shape> w4_shape(int64_t n, int64_t k, int64_t group_size, bool has_zeros);

// An int4 matrix as checkpoints hold it: row r, column c is (code - 8 - zero) * scale, of group c / group_size.
struct W4Rows {
  std::span<const uint32_t> codes;   // [n, ceil(k / 8)], column c in bits 4 * (c % 8)
  std::span<const uint16_t> scales;  // bf16 bits [n, num_groups]
  std::span<const int8_t> zeros;     // [n, num_groups], or empty
  int64_t group_size = 128;
  bool interleave_halves = false;  // rows [0, n / 2) become the even packed rows, the rest the odd ones
};

// The blocks of w4_layout.h. What lies outside the matrix gets scale 0.
std::vector<uint8_t> pack_w4(const W4Rows& rows, const W4Shape& shape);

}  // namespace assay::cuda
