#include "engine/runtime/kv_blocks.h"

#include <numeric>

#include "engine/base/check.h"

namespace assay {

KvBlocks::KvBlocks(int32_t num_blocks) {
  ASSAY_CHECK_LE(0, num_blocks);
  references_.assign(static_cast<size_t>(num_blocks), 0);
  free_.resize(static_cast<size_t>(num_blocks));
  std::iota(free_.rbegin(), free_.rend(), 0);
}

KvBlockId KvBlocks::allocate() {
  if (free_.empty()) return -1;
  const KvBlockId block = free_.back();
  free_.pop_back();
  count(block) = 1;
  return block;
}

void KvBlocks::add_reference(KvBlockId block) {
  ASSAY_CHECK_LT(0, references(block));
  ++count(block);
}

void KvBlocks::release(KvBlockId block) {
  ASSAY_CHECK_LT(0, references(block));
  if (--count(block) == 0) free_.push_back(block);
}

int32_t KvBlocks::references(KvBlockId block) const {
  ASSAY_CHECK(block >= 0 && block < num_blocks());
  return references_[static_cast<size_t>(block)];
}

int32_t& KvBlocks::count(KvBlockId block) {
  ASSAY_CHECK(block >= 0 && block < num_blocks());
  return references_[static_cast<size_t>(block)];
}

}  // namespace assay
