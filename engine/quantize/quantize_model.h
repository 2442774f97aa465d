#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "engine/formats/quant_scheme.h"

namespace assay {

struct QuantizeOptions {
  Path model;                  // a bf16 / f16 / f32 checkpoint folder
  Path out;                    // must not exist, or be empty
  std::string method = "rtn";  // "gptq" will join
  QuantScheme scheme;
  std::vector<std::string> ignore = {"lm_head"};  // module names or "re:" patterns left unquantized
};

struct QuantizeReport {
  int64_t num_quantized = 0;  // linears
  int64_t num_ignored = 0;
  int64_t bytes_before = 0, bytes_after = 0;
  double mean_relative_error = 0;  // ||W - W'|| / ||W||, averaged over linears
};

// Reads a checkpoint, quantizes the decoder's linears, writes a compressed-tensors pack-quantized folder: shards as the
// source has them, config.json with quantization_config (ignore as full module names), recipe.yaml, tokenizer and
// template files copied. One tensor in memory at a time. The folder appears under its final name only when complete.
// `progress` gets (done, total) linears. Errors: invalid_argument when a width does not divide by the group size (names
// the layer and the sizes that fit), when an ignore entry matches nothing, when `out` is not empty.
Result<QuantizeReport> quantize_model(const QuantizeOptions& options,
                                      const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace assay
