#pragma once

#include <cstdint>

#include "engine/base/status.h"
#include "engine/model/model_config.h"

namespace assay::cuda {

// What a device has and what is asked of it, before anything is allocated.
struct MemoryWish {
  int64_t free_bytes = 0;    // of the device
  int64_t weight_bytes = 0;  // of the model as it will lie there
  int64_t linear_scratch_bytes = 0;
  int64_t w4_scratch_bytes = 0;
  int element_bytes = 2;
  int64_t max_batch_tokens = 0;
  int64_t kv_bytes = 0;  // 0: what is left
  int64_t max_model_len = 0;
};

// Bytes of everything that a backend holds; made from shapes alone, so that what does not fit is said before the first
// token.
struct MemoryPlan {
  int64_t rows = 0;            // of a batch, at most
  int64_t residual_bytes = 0;  // float [rows, hidden_size]
  int64_t picked_bytes = 0;    // the same, of rows whose logits are wanted
  int64_t normed_bytes = 0;    // [rows, hidden_size]
  int64_t qkv_bytes = 0;       // [rows, q, k, v]
  int64_t attended_bytes = 0;  // [rows, q]
  int64_t mlp_bytes = 0;       // [rows, intermediate_size]
  int64_t linear_scratch_bytes = 0;
  int64_t w4_scratch_bytes = 0;  // of the W4A16 kernels
  int64_t vocab_chunk = 0;       // tokens whose logits are read as one
  int64_t num_chunks = 0;
  int64_t logit_rows = 0;     // whose logits are made at once
  int64_t logit_bytes = 0;    // float [logit_rows, vocab_size]
  int64_t partial_slots = 0;  // of attention
  int64_t partial_bytes = 0;
  int64_t upload_bytes = 0;  // a step's bookkeeping; grows when a batch needs more
  int64_t rope_positions = 0;
  int64_t rope_bytes = 0;      // cosines and sines
  int64_t kv_block_bytes = 0;  // of all layers
  int32_t num_kv_blocks = 0;
  int64_t kv_bytes = 0;

  int64_t work_bytes() const;  // all but weights and KV
};

// Errors: out_of_memory with what is needed and what is there; invalid_argument for a KV budget below one block.
Result<MemoryPlan> plan_memory(const ModelConfig& config, const MemoryWish& wish);

}  // namespace assay::cuda
