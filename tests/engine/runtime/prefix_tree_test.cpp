#include "engine/runtime/prefix_tree.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

namespace assay {
namespace {

Tokens range(TokenId first, int32_t count) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Tokens joined(Tokens head, const Tokens& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

int32_t size_of(const Tokens& tokens) { return static_cast<int32_t>(tokens.size()); }

// Blocks for every position, taken from the free list.
std::vector<KvBlockId> take_blocks(KvBlocks& blocks, int32_t num_tokens) {
  std::vector<KvBlockId> table;
  for (int32_t i = 0; i < kv_blocks_for(num_tokens); ++i) table.push_back(blocks.allocate());
  return table;
}

void release_all(KvBlocks& blocks, const std::vector<KvBlockId>& table) {
  for (const KvBlockId block : table) blocks.release(block);
}

// A finished sequence: its tokens stay known, its own references are gone.
std::vector<KvBlockId> remember(PrefixTree& tree, KvBlocks& blocks, const Tokens& tokens) {
  const auto table = take_blocks(blocks, size_of(tokens));
  tree.insert(tokens, size_of(tokens), table);
  release_all(blocks, table);
  return table;
}

TEST_CASE("an empty tree knows nothing") {
  KvBlocks blocks(4);
  PrefixTree tree(blocks);
  const auto match = tree.match(range(0, 20), 20);
  CHECK(match.num_tokens == 0);
  CHECK(match.blocks.empty());
  CHECK(tree.num_tokens() == 0);
}

TEST_CASE("a known run is found up to the limit, its last block partly filled") {
  KvBlocks blocks(8);
  PrefixTree tree(blocks);
  const Tokens tokens = range(0, 40);
  const auto table = remember(tree, blocks, tokens);
  CHECK(tree.num_tokens() == 40);
  CHECK(blocks.num_free() == 5);

  auto match = tree.match(tokens, 40);
  CHECK(match.num_tokens == 40);
  CHECK(match.blocks == table);
  match = tree.match(tokens, 32);
  CHECK(match.num_tokens == 32);
  CHECK(match.blocks == std::vector<KvBlockId>{table[0], table[1]});
  match = tree.match(tokens, 33);
  CHECK(match.blocks == table);
}

TEST_CASE("a branch in mid-block keeps both runs and hands out the block they part in") {
  KvBlocks blocks(8);
  PrefixTree tree(blocks);
  const Tokens first = range(0, 24);
  const auto first_table = remember(tree, blocks, first);
  const Tokens second = joined(range(0, 20), range(100, 10));
  auto match = tree.match(second, 29);
  CHECK(match.num_tokens == 20);
  CHECK(match.blocks == first_table);

  std::vector<KvBlockId> second_table = {first_table[0], blocks.allocate()};
  blocks.add_reference(first_table[0]);
  tree.insert(second, 30, second_table);
  release_all(blocks, second_table);
  CHECK(tree.num_tokens() == 34);

  CHECK(tree.match(first, 24).blocks == first_table);
  match = tree.match(second, 30);
  CHECK(match.num_tokens == 30);
  CHECK(match.blocks == second_table);
  CHECK(tree.match(second, 20).blocks == first_table);
}

TEST_CASE("a run known already keeps its blocks when another sequence brings the same tokens") {
  KvBlocks blocks(8);
  PrefixTree tree(blocks);
  const auto first_table = remember(tree, blocks, range(0, 20));
  remember(tree, blocks, range(0, 20));
  CHECK(blocks.num_free() == 6);
  CHECK(tree.match(range(0, 20), 20).blocks == first_table);
}

TEST_CASE("a sequence may become known chunk by chunk") {
  KvBlocks blocks(8);
  PrefixTree tree(blocks);
  const Tokens tokens = range(0, 50);
  const auto table = take_blocks(blocks, 50);
  for (const int32_t end : {1, 7, 16, 17, 32, 50}) tree.insert(tokens, end, table);
  CHECK(tree.num_tokens() == 50);
  CHECK(tree.match(tokens, 50).blocks == table);
  release_all(blocks, table);
  CHECK(blocks.num_free() == 4);
  tree.clear();
  CHECK(blocks.num_free() == 8);
}

TEST_CASE("eviction cuts the oldest unused leaf from its end") {
  KvBlocks blocks(6);
  PrefixTree tree(blocks);
  const Tokens old_run = range(0, 48), new_run = range(1000, 48);
  remember(tree, blocks, old_run);
  remember(tree, blocks, new_run);
  CHECK(blocks.num_free() == 0);
  CHECK(tree.evict(1));
  CHECK(tree.match(new_run, 48).num_tokens == 48);
  CHECK(tree.match(old_run, 48).num_tokens == 32);
  CHECK(tree.evict(2));  // the match made old_run the newer one
  CHECK(tree.match(old_run, 48).num_tokens == 32);
  CHECK(tree.match(new_run, 48).num_tokens == 32);
  CHECK(tree.evict(6));
  CHECK(tree.num_tokens() == 0);
  CHECK_FALSE(tree.evict(7));
}

TEST_CASE("eviction leaves alone what a sequence uses") {
  KvBlocks blocks(4);
  PrefixTree tree(blocks);
  const auto used = take_blocks(blocks, 32);
  tree.insert(range(0, 32), 32, used);
  remember(tree, blocks, range(1000, 32));
  CHECK_FALSE(tree.evict(3));
  CHECK(blocks.num_free() == 2);
  CHECK(tree.match(range(0, 32), 32).num_tokens == 32);
  CHECK(tree.match(range(1000, 32), 32).num_tokens == 0);
  release_all(blocks, used);
  CHECK(tree.evict(4));
}

TEST_CASE("a parent is evicted after its children") {
  KvBlocks blocks(8);
  PrefixTree tree(blocks);
  const Tokens shared = range(0, 32);
  const Tokens a = joined(shared, range(100, 16)), b = joined(shared, range(200, 16));
  const auto table = remember(tree, blocks, a);
  std::vector<KvBlockId> b_table = {table[0], table[1], blocks.allocate()};
  blocks.add_reference(table[0]);
  blocks.add_reference(table[1]);
  tree.insert(b, 48, b_table);
  release_all(blocks, b_table);
  CHECK(blocks.num_free() == 4);
  CHECK(tree.evict(6));
  CHECK(tree.match(a, 48).num_tokens == 32);
  CHECK(tree.evict(8));
  CHECK(tree.num_tokens() == 0);
}

TEST_CASE("a destroyed tree gives all its blocks back") {
  KvBlocks blocks(8);
  {
    PrefixTree tree(blocks);
    remember(tree, blocks, range(0, 100));
    CHECK(blocks.num_free() == 1);
  }
  CHECK(blocks.num_free() == 8);
}

// What each slot of each block holds, as the hash of the tokens up to it: a model of the KV bytes.
class SlotModel {
 public:
  void write(const Tokens& tokens, int32_t begin, int32_t end, const std::vector<KvBlockId>& table) {
    for (int32_t i = begin; i < end; ++i) slots_[slot(table, i)] = prefix(tokens, i);
  }
  bool holds(const Tokens& tokens, int32_t end, const std::vector<KvBlockId>& table) {
    for (int32_t i = 0; i < end; ++i) {
      if (slots_[slot(table, i)] != prefix(tokens, i)) return false;
    }
    return true;
  }

 private:
  static std::pair<KvBlockId, int32_t> slot(const std::vector<KvBlockId>& table, int32_t position) {
    return {table[static_cast<size_t>(position / kKvBlockTokens)], position % kKvBlockTokens};
  }
  static Tokens prefix(const Tokens& tokens, int32_t position) {
    return {tokens.begin(), tokens.begin() + position + 1};
  }
  std::map<std::pair<KvBlockId, int32_t>, Tokens> slots_;
};

TEST_CASE("whatever is inserted, matched and evicted, a match's blocks hold exactly its tokens") {
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<int32_t>(random() % static_cast<uint32_t>(n)); };
  for (int round = 0; round < 40; ++round) {
    KvBlocks blocks(24);
    PrefixTree tree(blocks);
    SlotModel slots;
    for (int step = 0; step < 60; ++step) {
      Tokens tokens(static_cast<size_t>(1 + below(70)));
      for (TokenId& token : tokens) token = below(20) == 0 ? 1 : 0;
      const auto match = tree.match(tokens, below(size_of(tokens) + 1));
      REQUIRE(slots.holds(tokens, match.num_tokens, match.blocks));
      std::vector<KvBlockId> table(match.blocks.begin(), match.blocks.begin() + match.num_tokens / kKvBlockTokens);
      for (const KvBlockId block : table) blocks.add_reference(block);
      const int32_t missing = kv_blocks_for(size_of(tokens)) - static_cast<int32_t>(table.size());
      if (tree.evict(missing)) {
        while (static_cast<int32_t>(table.size()) < kv_blocks_for(size_of(tokens))) table.push_back(blocks.allocate());
        slots.write(tokens, match.num_tokens / kKvBlockTokens * kKvBlockTokens, size_of(tokens), table);
        tree.insert(tokens, size_of(tokens), table);
        REQUIRE(tree.match(tokens, size_of(tokens)).num_tokens == size_of(tokens));
      }
      release_all(blocks, table);
    }
    CHECK(tree.evict(24));
    CHECK(tree.num_tokens() == 0);
  }
}

}  // namespace
}  // namespace assay
