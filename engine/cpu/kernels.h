#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/backend/batch.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/packed_matrix.h"

namespace assay::cpu {

// How activations lie in memory, and what is rounded.
enum class Activations : uint8_t {
  bf16,         // bf16 elements
  f32,          // float elements, nothing rounded
  f32_rounded,  // float elements holding bf16 values: the bfloat16 arithmetic where bf16 products are missing
};

// Widths of activation rows are padded to whole strips; padding is zero and stays zero.
constexpr int64_t padded_width(int64_t width) { return (width + kStripColumns - 1) / kStripColumns * kStripColumns; }

// What becomes of the sums of one product, row by row, strip by strip. Elements are activations unless said otherwise.
struct Epilogue {
  enum class Kind : uint8_t {
    store,    // out[row, column] = round(sum + bias)
    add,      // out is float: out[row, column] += sum + bias: the residual stream
    swiglu,   // columns 0-15 of a strip are gates, 16-31 ups: out[row, 16 strip + c] = round(silu(gate) * up)
    float32,  // out is float: out[row, column] = sum + bias
  };
  Kind kind = Kind::store;
  void* out = nullptr;
  int64_t ld = 0;               // elements from row to row of out
  const float* bias = nullptr;  // [num_strips * 32] in the order of packed columns, or null
};

// Consecutive tokens of one sequence and the query heads of one KV head that attend together.
struct AttentionTask {
  const void* query = nullptr;  // [num_tokens, num_heads * head_dim] inside rows of query_ld elements
  int64_t query_ld = 0;
  void* out = nullptr;  // as query
  int64_t out_ld = 0;
  int32_t num_tokens = 0;
  int32_t num_heads = 0;
  int32_t head_dim = 0;
  int32_t first_position = 0;         // of the first token
  const std::byte* blocks = nullptr;  // KV block 0 of this layer and KV head (kv_cache.h)
  int64_t block_stride_bytes = 0;
  const KvBlockId* block_table = nullptr;
  int64_t window = 0;  // a query at p sees keys in (p - window, p]; 0: all up to p
  float scale = 0;     // of the scores: head_dim ^ -0.5
};

// What a row of logits says as a whole.
struct LogitStats {
  float max = 0;
  TokenId argmax = 0;   // lowest id among equals
  double log_sum = 0;   // log sum exp(logit)
  bool finite = false;  // every logit is
};

// The operations of one instruction set on one kind of activations. Every function works on one thread, and a row's
// result depends on that row only.
struct Kernels {
  Activations activations;
  int element_bytes;
  // out = round(x * rsqrt(mean(x^2) + eps) * weight); x float, out activations, weight: [padded width].
  void (*rms_norm)(const float* x, const float* weight, int64_t width, float eps, void* out);
  // Rotates heads [num_heads, head_dim] in place: pair (j, j + head_dim / 2) by cos[j], sin[j].
  void (*rotate)(void* heads, int64_t num_heads, int64_t head_dim, const float* cos, const float* sin);
  // Writes keys and values [num_kv_heads, head_dim] of one position into slot `slot` of a KV block (kv_cache.h).
  void (*write_kv)(const void* keys, const void* values, int64_t num_kv_heads, int64_t head_dim, int slot,
                   std::byte* block);
  // Causal attention with a running maximum over groups of 64 positions, whose edges are multiples of 64: a query's
  // sums do not depend on which queries share its task. Exponentials are of base 2, good to 2 units in the last place.
  // A value that is not finite spoils all queries of its block, also those that do not see it.
  // Based on: Milakov and Gimelshein. Online normalizer calculation for softmax. 2018; Dao. FlashAttention-2. 2023
  void (*attend)(const AttentionTask& task);
  // Applies an epilogue to sums [num_rows, 32] (rows `sums_ld` apart) of strip `strip`, rows from `row`.
  void (*finish)(const Epilogue& epilogue, int64_t row, int64_t num_rows, int64_t strip, const float* sums,
                 int64_t sums_ld);
  // The 32 columns of a strip as floats: out[k * ld + column], k up to k_padded.
  void (*expand_strip)(const PackedMatrix& matrix, int64_t strip, float* out, int64_t ld);
  // Sums run in a fixed order: 16 lanes, 4096 ids at a time, then double. logits is readable up to a multiple of 16,
  // where padding holds anything finite.
  LogitStats (*logit_stats)(const float* logits, int64_t count);
};

// f32 and f32_rounded exist for every instruction set that is not richer than the processor's; bf16 needs avx512_bf16.
const Kernels& kernels_for(InstructionSet isa, Activations activations);

namespace portable {
const Kernels& kernels(Activations activations);
}
namespace avx2 {
const Kernels& kernels(Activations activations);
}
namespace avx512 {
const Kernels& kernels(Activations activations);
}
namespace avx512_bf16 {
const Kernels& kernels(Activations activations);
}

}  // namespace assay::cpu
