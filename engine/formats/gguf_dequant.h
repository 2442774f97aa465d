#pragma once

#include <cstdint>
#include <span>

#include "engine/formats/gguf.h"

namespace assay {

// Values a block of `type` holds and the bytes it takes; {1, 4} for f32.
struct GgmlBlock {
  int64_t values;
  int64_t bytes;
};
GgmlBlock ggml_block(GgmlType type);

// Decodes `count` values (a whole number of blocks) to float, in float32 arithmetic and the operation order of ggml's
// reference dequantizers, so that results are equal bit for bit. Block layouts: model.md 8.2. Thread-safe: a caller may
// split a tensor at block boundaries.
// REQUIRES: `count` divides by the block's values; `blocks` holds exactly its bytes.
// Based on: ggml, ggml-quants.c (dequantize_row_*), the scalar reference.
void gguf_dequantize(GgmlType type, std::span<const std::byte> blocks, int64_t count, float* out);

}  // namespace assay
