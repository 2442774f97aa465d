#pragma once

#include <string>

#include "engine/backend/batch.h"
#include "engine/cpu/kernels.h"

namespace assay::cpu {

// Answers one request from its row of float32 logits. False when a logit is not finite.
bool answer_request(const LogitRequest& request, const float* logits, int64_t vocab_size, const Kernels& kernels,
                    LogitResult& result);

// The `count` largest logits with their log-probabilities, descending; ties by id.
std::vector<TokenLogprob> top_logprobs(const float* logits, int64_t vocab_size, int count, double log_sum);

}  // namespace assay::cpu
