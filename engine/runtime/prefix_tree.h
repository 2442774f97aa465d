#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "engine/runtime/kv_blocks.h"

namespace assay {

// A radix tree from token runs to the KV blocks that hold their keys and values, at token granularity. A match that ends
// inside a block hands out that block for copying, so that a branch may begin anywhere while positions stay aligned to
// blocks. The tree holds one reference on each of its blocks. Leaves no one uses are evicted oldest first.
// A run may be inserted as soon as the batch that computes it has been planned. Not thread-safe.
// Based on: Zheng et al. SGLang: efficient execution of structured language model programs. 2024 (RadixAttention).
class PrefixTree {
 public:
  explicit PrefixTree(KvBlocks& blocks);
  ~PrefixTree();

  // The longest known prefix of tokens[0, limit).
  struct Match {
    int32_t num_tokens = 0;
    std::vector<KvBlockId> blocks;  // cover positions [0, num_tokens); the last may be partly filled
  };
  // Marks the path as just used. The blocks carry no extra reference: take one before anything may evict.
  Match match(const Tokens& tokens, int32_t limit);

  // Makes tokens[0, num_tokens) known, held in `blocks` (which cover those positions). The tree takes its own references on
  // blocks it keeps; where a run is known already the known blocks stay.
  void insert(const Tokens& tokens, int32_t num_tokens, const std::vector<KvBlockId>& blocks);

  // Frees least recently used leaves whose blocks only the tree refers to until `wanted` blocks are free or nothing is left
  // to evict. Returns whether `wanted` are free.
  bool evict(int32_t wanted);
  void clear();
  int64_t num_tokens() const;  // known tokens, each run counted once

 private:
  struct Node;
  KvBlocks& blocks_;
  std::unique_ptr<Node> root_;
  int64_t clock_ = 0;
};

}  // namespace assay
