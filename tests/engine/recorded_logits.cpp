#include "tests/engine/recorded_logits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "engine/formats/checkpoint.h"
#include "tests/support/shared_folder.h"

namespace assay::testing {
namespace {

std::vector<int32_t> ints(const TensorView& tensor) {
  std::vector<int32_t> values(tensor.bytes.size() / 4);
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

// The small checkpoints and what they gave, where ../shared has them.
std::optional<std::filesystem::path> recorded_models() {
  const auto shared = shared_folder();
  if (shared && std::filesystem::is_directory(*shared / "oracle/model/model")) return *shared / "oracle/model/model";
  MESSAGE("skipped: no ../shared/oracle/model/model");
  return std::nullopt;
}

// One sequence in one batch, every row's logits wanted. Blocks are handed out backwards: their numbers must not matter.
Batch one_sequence(const Tokens& tokens) {
  Batch batch;
  batch.tokens = tokens;
  BatchSegment segment;
  segment.num_tokens = static_cast<int32_t>(tokens.size());
  const auto blocks = static_cast<int32_t>((tokens.size() + kKvBlockTokens - 1) / kKvBlockTokens);
  for (int32_t i = 0; i < blocks; ++i) segment.block_table.push_back(blocks - 1 - i);
  batch.segments.push_back(segment);
  for (int32_t row = 0; row < segment.num_tokens; ++row) {
    LogitRequest request;
    request.row = row;
    request.want_logits = true;
    if (row + 1 < segment.num_tokens) request.targets = {tokens[static_cast<size_t>(row) + 1]};
    batch.logits.push_back(request);
  }
  return batch;
}

struct Deviation {
  double largest_relative = 0;  // of logits, to the row's largest magnitude
  double mean_logprob = 0;      // absolute
  int top1_equal = 0, rows = 0;
};

Deviation deviation(const MakeBackend& make, const std::string& variant, const std::string& text,
                    const std::string& dtype) {
  const auto folder = *recorded_models();
  const Checkpoint checkpoint = Checkpoint::open(folder / variant).value();
  const Json* generation = checkpoint.generation_config() ? &*checkpoint.generation_config() : nullptr;
  const ModelConfig config = read_model_config(checkpoint.config(), generation, "config.json").value();
  const ModelWeights weights = build_tensor_table(checkpoint, config).value();
  const SafetensorsFile recorded =
      SafetensorsFile::open(folder / "expected" / variant / (text + ".safetensors")).value();
  const Tokens tokens = ints(*recorded.find("input_ids"));
  BackendOptions options;
  options.dtype = dtype;
  options.max_model_len = 1024;
  options.max_batch_tokens = 512;
  options.kv_bytes = int64_t{64} << 20;
  auto backend = make(config, weights, options).value();
  const auto results = backend->forward(one_sequence(tokens)).value();

  Deviation out;
  const auto logprobs = to_floats(*recorded.find("next_token_logprob")).value();
  const auto top_ids = ints(*recorded.find("top32_ids"));
  const auto top_logits = to_floats(*recorded.find("top32_logits")).value();
  for (size_t row = 0; row < tokens.size(); ++row) {
    const auto& got = results[row];
    double scale = 0, worst = 0;
    for (size_t k = 0; k < 32; ++k) {
      const double want = top_logits[row * 32 + k];
      scale = std::max(scale, std::abs(want));
      worst = std::max(worst, std::abs(want - got.logits[static_cast<size_t>(top_ids[row * 32 + k])]));
    }
    out.largest_relative = std::max(out.largest_relative, worst / scale);
    out.top1_equal += got.argmax == top_ids[row * 32];
    if (row + 1 < tokens.size()) out.mean_logprob += std::abs(got.target_logprobs[0] - logprobs[row]);
  }
  out.rows = static_cast<int>(tokens.size());
  out.mean_logprob /= std::max(1, out.rows - 1);
  return out;
}

}  // namespace

void check_recorded_logits_in_float32(const MakeBackend& make) {
  if (!recorded_models()) return;
  for (const char* variant : {"bf16", "w4a16_gptq", "w4a16_rtn"}) {
    for (const char* text : {"text_short", "text_mid", "text_long"}) {
      CAPTURE(variant);
      CAPTURE(text);
      const Deviation d = deviation(make, variant, text, "float32");
      CHECK(d.largest_relative < 1e-4);
      CHECK(d.top1_equal == d.rows);
      CHECK(d.mean_logprob < 1e-4);
    }
  }
}

void check_recorded_logits_in_bfloat16(const MakeBackend& make) {
  if (!recorded_models()) return;
  for (const char* variant : {"bf16", "w4a16_gptq", "w4a16_rtn"}) {
    CAPTURE(variant);
    const Deviation d = deviation(make, variant, "text_long", "bfloat16");
    CHECK(d.mean_logprob < 0.04);
    CHECK(d.top1_equal > 0.93 * d.rows);
  }
}

}  // namespace assay::testing
