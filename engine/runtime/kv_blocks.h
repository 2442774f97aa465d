#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"

namespace assay {

// Which KV blocks are free and how many users each other one has. Bookkeeping only: ids, no bytes. Not thread-safe.
// Based on: Kwon et al. Efficient memory management for large language model serving with PagedAttention. 2023.
class KvBlocks {
 public:
  explicit KvBlocks(int32_t num_blocks);

  int32_t num_blocks() const { return static_cast<int32_t>(references_.size()); }
  int32_t num_free() const { return static_cast<int32_t>(free_.size()); }
  // A block with one reference, or -1 when none is free. Lowest ids first after construction, then most recently freed.
  KvBlockId allocate();
  // REQUIRES: the block is in use.
  void add_reference(KvBlockId block);
  // Drops one reference; at zero the block is free again. REQUIRES: the block is in use.
  void release(KvBlockId block);
  int32_t references(KvBlockId block) const;

 private:
  int32_t& count(KvBlockId block);

  std::vector<int32_t> references_;
  std::vector<KvBlockId> free_;  // the next to hand out is last
};

// Blocks that hold `num_tokens` tokens.
inline int32_t kv_blocks_for(int32_t num_tokens) { return (num_tokens + kKvBlockTokens - 1) / kKvBlockTokens; }

}  // namespace assay
