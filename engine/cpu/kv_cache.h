#pragma once

#include <cstdint>

#include "engine/backend/batch.h"
#include "engine/base/status.h"
#include "engine/cpu/buffer.h"

namespace assay::cpu {

// The bytes of all KV blocks. A block of one layer holds, for each KV head, keys then values of 16 positions, each laid
// out for dot products that step over pairs (bf16) or single floats:
//   bf16  keys [head_dim / 2, 16, 2], values [8, head_dim, 2]: two neighbors along the summed dimension lie together
//   f32   keys [head_dim, 16], values [16, head_dim]
// Keys out of sight get weight zero, which only a finite value turns into nothing: slots that were never written since
// the block was begun hold zeros.
class KvCache {
 public:
  struct Shape {
    int64_t num_layers = 0, num_kv_heads = 0, head_dim = 0;
    int element_bytes = 2;
    int64_t head_bytes() const { return 2 * kKvBlockTokens * head_dim * element_bytes; }
    int64_t layer_bytes() const { return num_kv_heads * head_bytes(); }  // of one block in one layer
    int64_t block_bytes() const { return num_layers * layer_bytes(); }
  };

  // Memory is taken as blocks are first used. Errors: out_of_memory; invalid_argument when not even one block fits.
  static Result<KvCache> allocate(const Shape& shape, int64_t bytes);

  int32_t num_blocks() const { return num_blocks_; }
  int64_t bytes() const { return num_blocks_ * shape_.block_bytes(); }
  // Keys and values of all heads of a block in a layer; head h begins at h * head_bytes(), block b + 1 layer_bytes()
  // on.
  std::byte* block(int64_t layer, KvBlockId id) const {
    return memory_.as<std::byte>() + (layer * num_blocks_ + id) * shape_.layer_bytes();
  }
  const Shape& shape() const { return shape_; }

  // One layer's share of a KvCopy: the first `num_tokens` slots; the others hold zero values.
  void copy(int64_t layer, const KvCopy& copy) const;
  // Makes a block's values zero in one layer: what must happen before its slot 0 is written.
  void begin_block(int64_t layer, KvBlockId id) const;

 private:
  KvCache(const Shape& shape, Buffer memory, int32_t num_blocks)
      : shape_(shape), memory_(std::move(memory)), num_blocks_(num_blocks) {}
  void clear_values(int64_t layer, KvBlockId id, int first_slot) const;
  Shape shape_;
  Buffer memory_;
  int32_t num_blocks_ = 0;
};

// A quarter of the memory that is free now, at most 1 GiB.
int64_t default_kv_bytes();

}  // namespace assay::cpu
