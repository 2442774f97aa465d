#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/formats/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

namespace assay::testing {

// A tiny checkpoint as a backend takes it, quantized by round-to-nearest when a group size is given (-1: dense).
struct LoadedModel {
  TempFolder folder;
  std::unique_ptr<Checkpoint> checkpoint;
  ModelConfig config;
  ModelWeights weights;

  explicit LoadedModel(const TinyModel& model, int64_t group_size = -1, bool symmetric = true);
};

// A kind of model that a backend must run.
struct ModelVariant {
  const char* name;
  TinyModel model;
  int64_t group_size = -1;
  bool symmetric = true;
};

Tokens some_tokens(int64_t vocab, int32_t count);

// One sequence from its first token, in blocks 0, 1, ...; every row asks for its logits, the two best tokens and the
// log-probability of the row's own token.
Batch one_batch(const Tokens& tokens);

// Mean over the rows of one_batch(tokens) of the distance of its log-probabilities to those of `want`, logits by row.
double mean_logprob_distance(const std::vector<LogitResult>& got, const std::vector<std::vector<double>>& want,
                             const Tokens& tokens);

// A token whose embedding is not finite fails its batch with an internal error that names a row, and leaves the next
// batches as they were. `make` opens the backend on a model of head size `head_dim`.
void check_bad_token_is_named(
    int64_t head_dim, const std::function<std::unique_ptr<Backend>(const ModelConfig&, const ModelWeights&)>& make);

}  // namespace assay::testing
