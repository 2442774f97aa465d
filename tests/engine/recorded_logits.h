#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/backend/backend.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"

namespace assay::testing {

// Logits that Transformers computed in float32 for the tiny Mistral3 checkpoint, BF16, GPTQ and RTN
// (../shared/oracle/model/README.md), against those of a backend that `make` opens. Without ../shared: says so and
// checks nothing.
using MakeBackend =
    std::function<Result<std::unique_ptr<Backend>>(const ModelConfig&, const ModelWeights&, const BackendOptions&)>;

// In float32: every text, within 1e-4 of the row's largest logit, the best token the same.
void check_recorded_logits_in_float32(const MakeBackend& make);

// In bfloat16: the log-probabilities stay within the noise that the library's own bfloat16 shows.
void check_recorded_logits_in_bfloat16(const MakeBackend& make);

}  // namespace assay::testing
