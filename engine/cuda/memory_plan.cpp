#include "engine/cuda/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/backend/batch.h"

namespace assay::cuda {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kVocabChunk = 8192;  // pieces of a row that are read side by side
constexpr int64_t kLogitBytes = 256 * kMiB;
constexpr int64_t kLogitRows = 256;             // as many as decode at once, at least
constexpr int64_t kPartialBytes = 128 * kMiB;   // more sums than this are not worth splitting for
constexpr int64_t kReservedBytes = 768 * kMiB;  // the context, the library's and the kernels' own needs
constexpr int64_t kMostBlocks = std::numeric_limits<int32_t>::max() / kKvBlockTokens - 1;  // slots are int32

double gib(int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1024 * kMiB); }

void plan_activations(const ModelConfig& config, const MemoryWish& wish, MemoryPlan& plan) {
  const int64_t element = wish.element_bytes, rows = plan.rows;
  plan.residual_bytes = rows * config.hidden_size * 4;
  plan.picked_bytes = plan.residual_bytes;
  plan.normed_bytes = rows * config.hidden_size * element;
  plan.qkv_bytes = rows * (config.q_width() + 2 * config.kv_width()) * element;
  plan.attended_bytes = rows * config.q_width() * element;
  plan.mlp_bytes = rows * config.intermediate_size * element;
  plan.linear_scratch_bytes = wish.linear_scratch_bytes;
  plan.w4_scratch_bytes = wish.w4_scratch_bytes;
  plan.vocab_chunk = std::min(config.vocab_size, kVocabChunk);
  plan.num_chunks = (config.vocab_size + plan.vocab_chunk - 1) / plan.vocab_chunk;
  plan.logit_rows = std::min(rows, std::max(kLogitRows, kLogitBytes / (config.vocab_size * 4)));
  plan.logit_bytes = plan.logit_rows * config.vocab_size * 4;
  const int64_t slot_bytes = config.num_heads * (config.head_dim + 2) * 4;
  plan.partial_slots = kPartialBytes / slot_bytes;
  plan.partial_bytes = plan.partial_slots * slot_bytes;
  plan.upload_bytes = std::max(kMiB, rows * 256);
}

Status plan_blocks(const MemoryWish& wish, MemoryPlan& plan) {
  const int64_t used = wish.weight_bytes + plan.work_bytes() + kReservedBytes;
  const int64_t left = wish.free_bytes - used;
  if (wish.kv_bytes > 0 && wish.kv_bytes < plan.kv_block_bytes)
    return invalid_argument(fmt::format("kv_bytes: {} is less than one block of {} tokens, expected at least {}",
                                        wish.kv_bytes, kKvBlockTokens, plan.kv_block_bytes));
  const int64_t wanted = std::max(wish.kv_bytes, plan.kv_block_bytes);
  if (left < wanted)
    return out_of_memory(fmt::format(
        "device memory: the model's {:.2f} GiB, {:.2f} GiB of work space for {} tokens a batch and {:.2f} "
        "GiB of KV do not fit, {:.2f} GiB are free; use fewer tokens a batch, a smaller KV budget or model",
        gib(wish.weight_bytes), gib(plan.work_bytes() + kReservedBytes), plan.rows, gib(wanted), gib(wish.free_bytes)));
  const int64_t bytes = wish.kv_bytes > 0 ? wish.kv_bytes : left / 10 * 9;
  plan.num_kv_blocks = static_cast<int32_t>(std::clamp<int64_t>(bytes / plan.kv_block_bytes, 1, kMostBlocks));
  plan.kv_bytes = plan.num_kv_blocks * plan.kv_block_bytes;
  return ok_status();
}

}  // namespace

int64_t MemoryPlan::work_bytes() const {
  return residual_bytes + picked_bytes + normed_bytes + qkv_bytes + attended_bytes + mlp_bytes + linear_scratch_bytes +
         w4_scratch_bytes + logit_bytes + partial_bytes + upload_bytes + rope_bytes;
}

Result<MemoryPlan> plan_memory(const ModelConfig& config, const MemoryWish& wish) {
  MemoryPlan plan;
  plan.rows = wish.max_batch_tokens;
  plan_activations(config, wish, plan);
  const int64_t longest = wish.max_model_len > 0 ? wish.max_model_len : config.max_position_embeddings;
  plan.rope_positions = longest;
  plan.rope_bytes = longest * config.head_dim / 2 * 2 * 4;
  plan.kv_block_bytes = config.num_layers * 2 * config.kv_width() * kKvBlockTokens * wish.element_bytes;
  ASSAY_TRY(plan_blocks(wish, plan));
  plan.rope_positions = std::min(longest, int64_t{plan.num_kv_blocks} * kKvBlockTokens);
  plan.rope_bytes = plan.rope_positions * config.head_dim / 2 * 2 * 4;
  return plan;
}

}  // namespace assay::cuda
