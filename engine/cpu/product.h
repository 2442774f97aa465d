#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/packed_matrix.h"
#include "engine/cpu/team.h"

namespace assay::cpu {

// Rows past the last that a product may read: batches are filled up to a count that has a kernel.
inline constexpr int64_t kRowSlack = 128;

// Activations times a packed matrix. A row of the result depends on its row of x only, bit for bit: not on the number
// of rows, on the row's place among them, or on how the work was divided.
class Product {
 public:
  virtual ~Product() = default;
  // Called by every worker of the team; returns when all rows are done.
  //   x  [rows + kRowSlack, ld] activations, ld = k_padded; columns from k on are zero; rows past `rows` may hold
  //   anything
  virtual void run(Worker& worker, const void* x, int64_t ld, int64_t rows, const Epilogue& epilogue) const = 0;
  // What Team::reserve_scratch must have given each worker.
  virtual int64_t scratch_bytes() const = 0;

  const PackedMatrix& matrix() const { return matrix_; }
  // The column of x that each k of the product takes; empty: x as it is. The caller reorders x.
  const std::vector<int32_t>& column_order() const { return matrix_.column_order; }

 protected:
  explicit Product(PackedMatrix matrix) : matrix_(std::move(matrix)) {}
  PackedMatrix matrix_;
};

// bf16 and int4 matrices times bf16 activations, on AVX-512 BF16: sums in float32, two k at a time in ascending order
// over all of k, whatever the number of rows. Int4 weights become round_bf16((q - z) * s) in registers for up to 4
// rows, and once for all rows, a strip at a time, above. REQUIRES: best_instruction_set() is avx512_bf16; format is not
// f32.
std::unique_ptr<Product> make_bf16_product(PackedMatrix matrix);

// Any matrix times float activations through oneDNN, a pair of strips at a time, expanded to float32 in each worker's
// scratch. Every worker calls oneDNN on its own, with row counts from a short list; at load each count's result is
// compared, bit for bit, with the largest one's, and counts that differ are not used. Errors: internal, what oneDNN
// said.
Result<std::unique_ptr<Product>> make_float_product(PackedMatrix matrix, const Kernels& kernels);

// "oneDNN 2.6.3"
std::string onednn_version();

}  // namespace assay::cpu
