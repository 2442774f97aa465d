#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/request.h"

namespace assay {

// Tokens a KV block holds. Position p of a sequence lies in slot p % kKvBlockTokens of entry p / kKvBlockTokens of its
// block table, always: the grouping of keys, and so every bit of an attention sum, depends on positions only.
inline constexpr int kKvBlockTokens = 16;

using KvBlockId = int32_t;

// A run of consecutive new tokens of one sequence. Its queries attend to positions [0, own position] through the block
// table; keys of the same batch are written before any attention of that layer reads them.
struct BatchSegment {
  int32_t first_row = 0;               // of Batch::tokens
  int32_t num_tokens = 0;              // at least 1
  int32_t first_position = 0;          // of the first token
  std::vector<KvBlockId> block_table;  // covers positions [0, first_position + num_tokens)
  // The tokens are of the model's own making, now or when they were first computed; else they were given to it. A
  // backend may use other kernels for the two, so which tokens are generated belongs to what a sequence is. Generated
  // segments come first in a batch.
  bool generated = false;
};

// Copy of the KV of a block's first `num_tokens` slots, done before the batch runs: a branch in mid-block starts from
// it.
struct KvCopy {
  KvBlockId from = 0, to = 0;
  int32_t num_tokens = 0;
};

// Also store row `row`'s keys and values in (block, slot): a branch in mid-block whose prefix is computed in this
// batch.
struct KvExtraWrite {
  int32_t row = 0;
  KvBlockId block = 0;
  int32_t slot = 0;
};

// How a token is drawn from a row of logits: docs/sampling.md from the temperature on, for tokens that no penalty
// touches and nothing bars. Read by devices as it lies.
struct TokenDraw {
  float temperature = 0;  // above 0; 0 where nothing is drawn
  float min_p = 0;
  float top_p = 1;
  int32_t top_k = 0;
  uint64_t seed = 0;
  int32_t sample_index = 0;
  int32_t position = 0;  // of the token to draw: how many tokens stand before it
};

// A row whose next-token distribution is wanted.
struct LogitRequest {
  int32_t row = 0;
  Tokens targets = {};                           // log-probabilities of these are returned, in this order
  int num_logprobs = 0;                          // and of the k most likely tokens
  bool want_logits = false;                      // and the whole row, for sampling on the host
  std::optional<TokenDraw> draw = std::nullopt;  // and a token drawn from it; only for backends that draw tokens
};

// Row `row`'s token is not known yet: it is the one that the batch submitted just before, not collected yet, draws for
// its request number `request`, or finds most likely where that draws none. Batch::tokens holds 0 there. Only for
// backends that feed tokens.
struct TokenFeed {
  int32_t row = 0;
  int32_t request = 0;
};

// One forward pass: what enters, where its keys and values go, what is wanted of it. Plain data, no pointers into
// others.
struct Batch {
  Tokens tokens;                       // [num_rows]
  std::vector<BatchSegment> segments;  // in row order, covering every row
  std::vector<KvCopy> copies;          // executed in order, before everything else
  std::vector<KvExtraWrite> extra_writes;
  std::vector<TokenFeed> feeds;      // ascending rows
  std::vector<LogitRequest> logits;  // ascending rows, each row once

  int32_t num_rows() const { return static_cast<int32_t>(tokens.size()); }
};

// The answer to one LogitRequest. Log-probabilities are natural, from float32 logits, normalized in float32 over a
// fixed order of the vocabulary.
struct LogitResult {
  std::vector<float> target_logprobs;
  TokenId argmax = 0;  // lowest id among equals
  float argmax_logprob = 0;
  std::vector<TokenLogprob> top;  // descending; ties by id
  std::vector<float> logits;      // [vocab_size], only if asked
  TokenId drawn = -1;             // only if asked; what draw_token (runtime/token_sampler.h) takes from the row
  float drawn_logprob = 0;
};

}  // namespace assay
