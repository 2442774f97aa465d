#include "engine/cpu/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>

namespace assay::cpu {
namespace {

constexpr int64_t kMostDefaultBytes = int64_t{1} << 30;

// MemAvailable of /proc/meminfo; nothing found counts as plenty.
int64_t available_bytes() {
  FILE* meminfo = std::fopen("/proc/meminfo", "re");
  if (!meminfo) return 4 * kMostDefaultBytes;
  long long kib = -1;
  char line[256];
  while (kib < 0 && std::fgets(line, sizeof line, meminfo)) {
    if (std::sscanf(line, "MemAvailable: %lld kB", &kib) != 1) kib = -1;
  }
  std::fclose(meminfo);
  return kib < 0 ? 4 * kMostDefaultBytes : int64_t{kib} * 1024;
}

}  // namespace

Result<KvCache> KvCache::allocate(const Shape& shape, int64_t bytes) {
  const int64_t blocks = std::min<int64_t>(bytes / shape.block_bytes(), std::numeric_limits<int32_t>::max() / 2);
  if (blocks < 1) {
    return invalid_argument(fmt::format("KV cache: {} bytes hold no block of {} tokens, which takes {}; give more",
                                        bytes, kKvBlockTokens, shape.block_bytes()));
  }
  ASSAY_ASSIGN(Buffer memory, Buffer::allocate(blocks * shape.block_bytes(), "KV cache"));
  return KvCache(shape, std::move(memory), static_cast<int32_t>(blocks));
}

void KvCache::copy(int64_t layer, const KvCopy& copy) const {
  if (copy.from != copy.to) {
    std::memcpy(block(layer, copy.to), block(layer, copy.from), static_cast<size_t>(shape_.layer_bytes()));
  }
  clear_values(layer, copy.to, copy.num_tokens);
}

void KvCache::begin_block(int64_t layer, KvBlockId id) const { clear_values(layer, id, 0); }

void KvCache::clear_values(int64_t layer, KvBlockId id, int first_slot) const {
  const int64_t value_bytes = shape_.head_bytes() / 2, step_bytes = value_bytes / kKvBlockTokens;
  for (int64_t head = 0; head < shape_.num_kv_heads; ++head) {
    std::byte* values = block(layer, id) + head * shape_.head_bytes() + value_bytes;
    if (shape_.element_bytes == 4) {
      std::memset(values + first_slot * step_bytes, 0, static_cast<size_t>(value_bytes - first_slot * step_bytes));
      continue;
    }
    int slot = first_slot;
    if (slot % 2 == 1) {  // the later halves of a row of pairs
      auto* pairs = reinterpret_cast<uint16_t*>(values) + slot / 2 * shape_.head_dim * 2;
      for (int64_t d = 0; d < shape_.head_dim; ++d) pairs[2 * d + 1] = 0;
      ++slot;
    }
    std::memset(values + slot * step_bytes, 0, static_cast<size_t>(value_bytes - slot * step_bytes));
  }
}

int64_t default_kv_bytes() { return std::min(kMostDefaultBytes, available_bytes() / 4); }

}  // namespace assay::cpu
