#include "engine/runtime/prefix_tree.h"

#include <algorithm>
#include <unordered_map>

#include "engine/base/check.h"

namespace assay {

// A run of tokens below its parent's. Where a run begins in mid-block its first block repeats, or is, the parent's
// last: slots before the run hold the same keys and values.
struct PrefixTree::Node {
  Tokens run;
  int32_t first = 0;              // position of run[0]
  std::vector<KvBlockId> blocks;  // of block numbers first / kKvBlockTokens on, covering the run
  Node* parent = nullptr;
  std::unordered_map<TokenId, std::unique_ptr<Node>> children;  // by first token
  int64_t last_used = 0;
  int64_t serial = 0;

  int32_t size() const { return static_cast<int32_t>(run.size()); }
  int32_t end() const { return first + size(); }
  LeafKey key() const { return {last_used, serial}; }

  Node* child(TokenId token) const {
    const auto found = children.find(token);
    return found == children.end() ? nullptr : found->second.get();
  }
  // How many tokens of the run equal tokens[first, limit).
  int32_t common(const Tokens& tokens, int32_t limit) const {
    const auto begin = tokens.begin() + first;
    const auto stop = begin + std::min(size(), limit - first);
    return static_cast<int32_t>(std::mismatch(begin, stop, run.begin()).first - begin);
  }
};

PrefixTree::PrefixTree(KvBlocks& blocks)
    : blocks_(blocks), held_(static_cast<size_t>(blocks.num_blocks()), 0), root_(std::make_unique<Node>()) {}

PrefixTree::~PrefixTree() { clear(); }

PrefixTree::Match PrefixTree::match(const Tokens& tokens, int32_t limit) {
  ASSAY_CHECK_LE(limit, static_cast<int32_t>(tokens.size()));
  ++clock_;
  Match match;
  const Node* node = root_.get();
  while (match.num_tokens < limit) {
    Node* child = node->child(tokens[static_cast<size_t>(match.num_tokens)]);
    if (child == nullptr) break;
    touch(*child);
    match.num_tokens += child->common(tokens, limit);
    match.blocks.resize(static_cast<size_t>(child->first / kKvBlockTokens));
    const auto begin = child->blocks.begin();
    match.blocks.insert(match.blocks.end(), begin,
                        begin + kv_blocks_for(match.num_tokens) - child->first / kKvBlockTokens);
    if (match.num_tokens < child->end()) break;
    node = child;
  }
  return match;
}

void PrefixTree::insert(const Tokens& tokens, int32_t num_tokens, const std::vector<KvBlockId>& blocks) {
  ASSAY_CHECK_LE(num_tokens, static_cast<int32_t>(tokens.size()));
  ASSAY_CHECK_LE(kv_blocks_for(num_tokens), static_cast<int32_t>(blocks.size()));
  ++clock_;
  Node* node = root_.get();
  for (int32_t at = 0; at < num_tokens; at = node->end()) {
    Node* child = node->child(tokens[static_cast<size_t>(at)]);
    if (child == nullptr) return append(*node, tokens, at, num_tokens, blocks);
    touch(*child);
    const int32_t common = child->common(tokens, num_tokens);
    if (at + common == num_tokens) return;
    node = common < child->size() ? &split(*child, common) : child;
  }
}

bool PrefixTree::evict(int32_t wanted) {
  auto next = leaves_.begin();
  while (blocks_.num_free() < wanted && next != leaves_.end()) {
    Node& leaf = *next->second;
    if (!only_tree_uses(leaf.blocks.back())) {
      ++next;
      continue;
    }
    const int64_t last_used = leaf.last_used;
    cut_last_block(leaf);
    next = leaves_.lower_bound({last_used, 0});  // a parent that became a leaf is never older
  }
  return blocks_.num_free() >= wanted;
}

void PrefixTree::clear() {
  while (!leaves_.empty()) remove_leaf(*leaves_.begin()->second);
}

void PrefixTree::touch(Node& node) {
  const bool is_leaf = leaves_.erase(node.key()) > 0;
  node.last_used = clock_;
  if (is_leaf) leaves_.emplace(node.key(), &node);
}

// Adds tokens[begin, end) below `node`: to its own run where it is a leaf whose blocks simply go on, else as a child.
void PrefixTree::append(Node& node, const Tokens& tokens, int32_t begin, int32_t end,
                        const std::vector<KvBlockId>& blocks) {
  const bool mid_block = begin % kKvBlockTokens != 0;
  const int32_t first_block = begin / kKvBlockTokens;
  const bool goes_on = &node != root_.get() && node.children.empty() &&
                       (!mid_block || node.blocks.back() == blocks[static_cast<size_t>(first_block)]);
  Node* target = &node;
  if (!goes_on) {
    auto child = std::make_unique<Node>();
    child->first = begin;
    child->run.push_back(tokens[static_cast<size_t>(begin)]);
    child->last_used = clock_;
    target = &add_child(node, std::move(child));
    leaves_.erase(node.key());
    leaves_.emplace(target->key(), target);
  }
  target->run.assign(tokens.begin() + target->first, tokens.begin() + end);
  num_tokens_ += end - begin;
  for (int32_t i = goes_on && mid_block ? first_block + 1 : first_block; i < kv_blocks_for(end); ++i) {
    hold(*target, blocks[static_cast<size_t>(i)]);
  }
}

PrefixTree::Node& PrefixTree::add_child(Node& parent, std::unique_ptr<Node> child) {
  child->parent = &parent;
  child->serial = next_serial_++;
  Node& added = *child;
  parent.children[added.run.front()] = std::move(child);
  return added;
}

// Divides a node after its first `num_tokens` tokens; returns the upper part. A block both parts reach into is held
// twice.
PrefixTree::Node& PrefixTree::split(Node& node, int32_t num_tokens) {
  ASSAY_CHECK(num_tokens > 0 && num_tokens < node.size());
  Node& parent = *node.parent;
  std::unique_ptr<Node> lower = std::move(parent.children[node.run.front()]);
  auto upper_owner = std::make_unique<Node>();
  upper_owner->first = node.first;
  upper_owner->run.assign(node.run.begin(), node.run.begin() + num_tokens);
  upper_owner->last_used = node.last_used;
  Node& upper = add_child(parent, std::move(upper_owner));

  const int32_t first_block = node.first / kKvBlockTokens;
  const int32_t upper_blocks = kv_blocks_for(upper.end()) - first_block;
  upper.blocks.assign(node.blocks.begin(), node.blocks.begin() + upper_blocks);
  node.blocks.erase(node.blocks.begin(), node.blocks.begin() + upper.end() / kKvBlockTokens - first_block);
  if (upper.end() % kKvBlockTokens != 0) {
    blocks_.add_reference(upper.blocks.back());
    ++held_[static_cast<size_t>(upper.blocks.back())];
  }
  node.run.erase(node.run.begin(), node.run.begin() + num_tokens);
  node.first = upper.end();
  node.parent = &upper;
  upper.children[node.run.front()] = std::move(lower);
  return upper;
}

void PrefixTree::hold(Node& node, KvBlockId block) {
  blocks_.add_reference(block);
  ++held_[static_cast<size_t>(block)];
  node.blocks.push_back(block);
}

void PrefixTree::let_go(Node& node) {
  const KvBlockId block = node.blocks.back();
  node.blocks.pop_back();
  --held_[static_cast<size_t>(block)];
  blocks_.release(block);
}

void PrefixTree::cut_last_block(Node& leaf) {
  const int32_t end = (leaf.end() - 1) / kKvBlockTokens * kKvBlockTokens;
  if (end <= leaf.first) return remove_leaf(leaf);
  num_tokens_ -= leaf.end() - end;
  leaf.run.resize(static_cast<size_t>(end - leaf.first));
  let_go(leaf);
}

void PrefixTree::remove_leaf(Node& leaf) {
  while (!leaf.blocks.empty()) let_go(leaf);
  num_tokens_ -= leaf.size();
  leaves_.erase(leaf.key());
  Node& parent = *leaf.parent;
  parent.children.erase(parent.children.find(leaf.run.front()));
  if (parent.children.empty() && &parent != root_.get()) leaves_.emplace(parent.key(), &parent);
}

bool PrefixTree::only_tree_uses(KvBlockId block) const {
  return blocks_.references(block) == held_[static_cast<size_t>(block)];
}

}  // namespace assay
