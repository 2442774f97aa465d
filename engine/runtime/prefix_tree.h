#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "engine/request.h"
#include "engine/runtime/kv_blocks.h"

namespace assay {

// A radix tree from token runs to the KV blocks that hold their keys and values, at token granularity. A match that
// ends inside a block hands out that block for copying, so that a branch may begin anywhere while positions stay
// aligned to blocks. The tree holds references on its blocks. Leaves no one uses are evicted oldest first, block by
// block. A run may be inserted as soon as the batch that computes it has been planned. Not thread-safe.
// Based on: Zheng et al. SGLang: efficient execution of structured language model programs. 2024 (RadixAttention).
class PrefixTree {
 public:
  explicit PrefixTree(KvBlocks& blocks);
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  // The longest known prefix of tokens[0, limit).
  struct Match {
    int32_t num_tokens = 0;
    std::vector<KvBlockId> blocks;  // cover positions [0, num_tokens); the last may be partly filled
  };
  // Marks the path as just used. The blocks carry no extra reference: take one before anything may evict.
  Match match(const Tokens& tokens, int32_t limit);

  // Makes tokens[0, num_tokens) known, held in `blocks` (which cover those positions). The tree takes its own
  // references on blocks it keeps; where a run is known already the known blocks stay.
  void insert(const Tokens& tokens, int32_t num_tokens, const std::vector<KvBlockId>& blocks);

  // Cuts blocks that only the tree refers to from the ends of the least recently used leaves until `wanted` blocks are
  // free or nothing is left to cut. Returns whether `wanted` are free.
  bool evict(int32_t wanted);
  void clear();
  int64_t num_tokens() const { return num_tokens_; }  // known tokens, each run counted once

 private:
  struct Node;
  using LeafKey = std::pair<int64_t, int64_t>;  // last use, serial number: oldest first, the same in every process

  void touch(Node& node);
  void append(Node& node, const Tokens& tokens, int32_t begin, int32_t end, const std::vector<KvBlockId>& blocks);
  Node& add_child(Node& parent, std::unique_ptr<Node> child);
  Node& split(Node& node, int32_t num_tokens);
  void hold(Node& node, KvBlockId block);
  void let_go(Node& node);
  void cut_last_block(Node& leaf);
  void remove_leaf(Node& leaf);
  bool only_tree_uses(KvBlockId block) const;

  KvBlocks& blocks_;
  std::vector<int32_t> held_;  // references the tree itself has on each block
  std::unique_ptr<Node> root_;
  std::map<LeafKey, Node*> leaves_;
  int64_t clock_ = 0;
  int64_t next_serial_ = 0;
  int64_t num_tokens_ = 0;
};

}  // namespace assay
