#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "engine/runtime/sequence.h"

namespace assay {

struct PendingLoglikelihood {
  RequestId id = 0;
  LoglikelihoodRequest request;
};
struct PendingGenerate {
  RequestId id = 0;
  GenerateRequest request;
};

struct RequestPlan {
  std::vector<std::unique_ptr<Sequence>> sequences;  // in the order to run them
  // Distinct prefixes over all of them: what a perfect prefix tree computes before decoding.
  int64_t tokens_minimum = 0;
};

// Turns everything that is queued into sequences over one trie of tokens. Sorting by tokens puts shared prefixes next
// to each other. Each wanted score belongs to exactly one sequence, the first in order that passes through its
// position: four choices whose fed tokens are equal become one sequence, and the row that predicts the first token of
// four longer endings is computed once. With share_prefixes off every request is a sequence of its own, in submission
// order. A generate request gives num_samples sequences, after the loglikelihoods.
RequestPlan plan_requests(std::vector<PendingLoglikelihood> loglikelihoods, std::vector<PendingGenerate> generates,
                          bool share_prefixes, int64_t& next_sequence_id);

}  // namespace assay
