#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/base/status.h"
#include "engine/request.h"

namespace assay {

// bad fields -> invalid_argument naming the field, its value and its range.
Status check_sampling(const SamplingParams& params);

// Whether choosing token number `num_generated` takes the whole row of logits; otherwise its arg max is the token.
bool needs_logits(const SamplingParams& params, int32_t num_generated);

// How a backend may draw token number `num_generated`, at `position` of its sequence, without handing out the row;
// nothing where the arg max is the token, or where penalties or barred tokens change the row first.
std::optional<TokenDraw> token_draw(const SamplingParams& params, int sample_index, int32_t num_generated,
                                    int32_t position);

// The token that sample_token draws from a row that nothing has changed. REQUIRES: temperature above 0.
TokenId draw_token(std::span<const float> logits, const TokenDraw& draw);

struct SampledToken {
  TokenId token = 0;
  float logprob = 0;              // from the unmodified logits
  std::vector<TokenLogprob> top;  // num_logprobs of them, from the unmodified logits
};

// Chooses a token from one row of logits. `history` is prompt and output tokens, `num_prompt` how many of them are
// prompt; the new token's position is history.size(). `barred` ids are excluded first (end-of-sequence ids before
// min_tokens).
// Deterministic: equal logits, parameters, sample_index and history length give the same token in any batch.
// Order of operations as in request.h; filters as vLLM defines them (model.md 7.1): min_p keeps p >= min_p * p_max;
// top_k keeps everything >= the k-th value; top_p drops the ascending prefix whose cumulative probability is <= 1 - p,
// among equal values higher ids first.
//
// The draw is a race: every surviving id v waits -ln(u) / p(v), u from random_bits(seed, sample_index, position << 32 |
// v), and the first to arrive wins. So P(v) = p(v), and two models that see the same text share their luck id by id: a
// small difference of their probabilities changes few tokens.
SampledToken sample_token(std::span<const float> logits, const SamplingParams& params, int sample_index,
                          const Tokens& history, int32_t num_prompt, const Tokens& barred);

// The probabilities after all filters, zeros where removed: what the draw uses, exposed for tests.
std::vector<float> filtered_probabilities(std::span<const float> logits, const SamplingParams& params);

// The logits after the penalties alone, exposed for tests.
std::vector<float> penalized_logits(std::span<const float> logits, const SamplingParams& params, const Tokens& history,
                                    int32_t num_prompt);

}  // namespace assay
