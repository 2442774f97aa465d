#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/status.h"
#include "engine/cpu/buffer.h"
#include "engine/cpu/file_pages.h"
#include "engine/cpu/team.h"
#include "engine/model/tensor_table.h"

namespace assay::cpu {

// Output columns that lie together in a packed matrix: two vectors of 16 sums.
inline constexpr int64_t kStripColumns = 32;
// A packed matrix's k is padded with zero weights to a multiple of this.
inline constexpr int64_t kDepthPadding = 32;

// One or several linear layers of the same input, repacked once at load for the products: y = x W^T. Columns (the
// outputs) lie in strips of 32, so that one vector load gives 16 columns' weights of two neighboring k.
struct PackedMatrix {
  enum class Format : uint8_t { bf16, f32, int4 };
  Format format = Format::bf16;
  int64_t columns = 0;  // packed columns that hold a row of W
  int64_t num_strips = 0;
  int64_t k = 0;  // in_features
  int64_t k_padded = 0;

  // bf16  [num_strips, k_padded / 2, 32, 2]       pairs of k beside each other
  // f32   [num_strips, k_padded, 32]
  // int4  [num_strips, k_padded / 16, 4, 16] u32  vector v of 16 lanes holds columns 8 v ..., two lanes a column:
  // nibble j
  //       of the first is the code of k = 2 j of the sixteen, of the second 2 j + 1; codes 0 to 15 stand for -8 to 7
  Buffer weights;
  // int4 only: W = round_bf16((code - 8 - zero) * scale).
  Buffer scales;  // bf16 or f32 [num_strips, num_groups, 32]
  Buffer zeros;   // i8 [num_strips, num_groups, 32]; empty when all are 0
  bool scales_are_bf16 = true;
  bool asymmetric = false;
  int64_t group_size = 0;  // of k; a multiple of 16
  int64_t num_groups = 0;
  // int4 only: k of the packed order is column column_order[k] of x; empty: the same order.
  std::vector<int32_t> column_order;

  std::vector<float> bias;  // [num_strips * 32], or empty

  int64_t bytes() const;        // of all buffers
  int64_t strip_bytes() const;  // of one strip's weights
};

// How the rows of the parts become packed columns.
enum class ColumnLayout : uint8_t {
  joined,       // part after part
  interleaved,  // two parts, 16 columns of the first, 16 of the second, and so on: gate and up
};

struct PackOptions {
  ColumnLayout layout = ColumnLayout::joined;
  bool keep_float32 = false;  // f16 and f32 weights become f32 instead of bf16
};

// Packs linears that share their input. Dense weights become bf16 (or f32). Quantized ones stay int4 where all parts
// agree on group size and column order and have 4 bits; any other mixture becomes round_bf16((q - z) * s). Pages of the
// checkpoint that were read are released. Errors: out_of_memory; bad_data from unpacking.
Result<PackedMatrix> pack_matrix(const std::vector<const LinearWeight*>& parts, const PackOptions& options,
                                 const FilePages& pages, Team& team);

// Packed column `column` as floats, in the order of x: one row of W. bf16 and f32 formats only.
void copy_packed_row(const PackedMatrix& matrix, int64_t column, float* out);

}  // namespace assay::cpu
