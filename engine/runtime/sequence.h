#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/request.h"

namespace assay {

// One place where a scored continuation token is wanted: row `position` predicts target `token`, which is number
// `index` of request `request`'s continuation.
struct WantedScore {
  int32_t position = 0;
  TokenId token = 0;
  RequestId request = 0;
  int32_t index = 0;
  int num_logprobs = 0;
};

enum class SequenceState : uint8_t { waiting, prefilling, decoding, finished };

// One run of tokens on its way through the model: the fed tokens of one or more loglikelihood requests, or one sample
// of a generate request with its output appended.
struct Sequence {
  int64_t id = 0;  // ascending in the order to run them
  SequenceState state = SequenceState::waiting;
  SharedTokens context;             // shared head of the tokens
  Tokens tail;                      // what follows it: continuation without its last token, or generated tokens
  std::vector<WantedScore> wanted;  // ascending positions; empty for generation
  int32_t num_scored = 0;           // of `wanted`, how many the batches so far have answered
  RequestId request = 0;            // whose tokens these are; a scoring sequence may carry scores of other requests too
  // Generation only.
  int sample_index = 0;
  bool generates = false;
  std::shared_ptr<const SamplingParams> sampling;
  // Not negative: the last token of `tail` is not known yet; this request of the batch in flight decides it.
  int32_t awaited_request = -1;

  int32_t num_computed = 0;            // tokens whose KV is in the block table
  std::vector<KvBlockId> block_table;  // this sequence holds a reference on each

  int32_t num_prompt() const { return static_cast<int32_t>(context->size()); }
  // Whether the next token to compute is one that the model made.
  bool next_is_generated() const { return generates && num_computed >= num_prompt(); }
  int32_t num_tokens() const { return static_cast<int32_t>(context->size() + tail.size()); }
  TokenId token(int32_t i) const {
    return i < num_prompt() ? (*context)[static_cast<size_t>(i)] : tail[static_cast<size_t>(i - num_prompt())];
  }
};

}  // namespace assay
