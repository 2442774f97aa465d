#pragma once

#include "engine/backend/batch.h"
#include "engine/base/check.h"

// What every backend demands of a batch before it touches memory (Backend::forward's REQUIRES); ASSAY_CHECKed.
namespace assay {

inline void check_block(KvBlockId id, int32_t num_blocks) {
  ASSAY_CHECK_LE(0, id);
  ASSAY_CHECK_LT(id, num_blocks);
}

// Tokens and targets lie inside the vocabulary; rows that want logits ascend.
inline void check_tokens(const Batch& batch, int64_t vocab_size) {
  for (const TokenId token : batch.tokens) {
    ASSAY_CHECK_LE(0, token);
    ASSAY_CHECK_LT(token, vocab_size);
  }
  int32_t last_row = -1;
  for (const LogitRequest& request : batch.logits) {
    ASSAY_CHECK_LT(last_row, request.row);
    ASSAY_CHECK_LT(request.row, batch.num_rows());
    for (const TokenId token : request.targets) ASSAY_CHECK(token >= 0 && token < vocab_size);
    last_row = request.row;
  }
}

}  // namespace assay
