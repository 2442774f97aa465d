#include "engine/runtime/kv_blocks.h"

#include <doctest/doctest.h>

namespace assay {
namespace {

TEST_CASE("blocks are handed out from the lowest id until none is left") {
  KvBlocks blocks(3);
  CHECK(blocks.num_blocks() == 3);
  CHECK(blocks.allocate() == 0);
  CHECK(blocks.allocate() == 1);
  CHECK(blocks.num_free() == 1);
  CHECK(blocks.allocate() == 2);
  CHECK(blocks.allocate() == -1);
  CHECK(blocks.num_free() == 0);
}

TEST_CASE("a block is free again when its last user lets go, and comes back first") {
  KvBlocks blocks(4);
  const KvBlockId first = blocks.allocate();
  const KvBlockId second = blocks.allocate();
  blocks.add_reference(first);
  CHECK(blocks.references(first) == 2);
  blocks.release(first);
  CHECK(blocks.references(first) == 1);
  CHECK(blocks.num_free() == 2);
  blocks.release(first);
  CHECK(blocks.references(first) == 0);
  CHECK(blocks.num_free() == 3);
  CHECK(blocks.allocate() == first);
  CHECK(blocks.references(second) == 1);
}

TEST_CASE("a cache without blocks has nothing to give") {
  KvBlocks blocks(0);
  CHECK(blocks.allocate() == -1);
}

TEST_CASE("tokens fill whole blocks") {
  CHECK(kv_blocks_for(0) == 0);
  CHECK(kv_blocks_for(1) == 1);
  CHECK(kv_blocks_for(kKvBlockTokens) == 1);
  CHECK(kv_blocks_for(kKvBlockTokens + 1) == 2);
}

}  // namespace
}  // namespace assay
