#include "tests/engine/tiny_model.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/quantize/quantize_model.h"
#include "tests/support/reference_ops.h"

namespace assay::testing {

LoadedModel::LoadedModel(const TinyModel& model, int64_t group_size, bool symmetric) {
  Path path = write_tiny_checkpoint(folder.path() / "dense", model).value();
  if (group_size >= 0) {
    QuantizeOptions options;
    options.model = path;
    options.out = path = folder.path() / "int4";
    options.scheme.group_size = group_size;
    options.scheme.symmetric = symmetric;
    if (model.tie) options.ignore.clear();
    const auto report = quantize_model(options);
    REQUIRE_MESSAGE(report.ok(), report.status().message());
  }
  checkpoint = std::make_unique<Checkpoint>(Checkpoint::open(path).value());
  config = read_model_config(checkpoint->config(), nullptr, "config.json").value();
  weights = build_tensor_table(*checkpoint, config).value();
}

Tokens some_tokens(int64_t vocab, int32_t count) {
  Tokens tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>((i * 7919 + 13) % vocab));
  return tokens;
}

Batch one_batch(const Tokens& tokens) {
  Batch batch;
  batch.tokens = tokens;
  const auto length = static_cast<int32_t>(tokens.size());
  batch.segments.push_back({0, length, 0, {}});
  for (int32_t block = 0; block * kKvBlockTokens < length; ++block) batch.segments[0].block_table.push_back(block);
  for (int32_t row = 0; row < length; ++row) batch.logits.push_back({row, {tokens[static_cast<size_t>(row)]}, 2, true});
  return batch;
}

double mean_logprob_distance(const std::vector<LogitResult>& got, const std::vector<std::vector<double>>& want,
                             const Tokens& tokens) {
  double total = 0;
  for (size_t row = 0; row < got.size(); ++row) {
    const auto logprobs = reference_logprobs(want[row]);
    total += std::abs(static_cast<double>(got[row].target_logprobs[0]) - logprobs[static_cast<size_t>(tokens[row])]);
  }
  return total / static_cast<double>(got.size());
}

void check_bad_token_is_named(
    int64_t head_dim, const std::function<std::unique_ptr<Backend>(const ModelConfig&, const ModelWeights&)>& make) {
  TinyModel tiny;
  tiny.tie = false;
  tiny.head_dim = head_dim;
  const LoadedModel model(tiny);
  // The last token's embedding becomes NaN in a copy of the tensor; everything else is as it was.
  ModelWeights spoiled = model.weights;
  std::vector<std::byte> bytes(spoiled.embed_tokens.bytes.begin(), spoiled.embed_tokens.bytes.end());
  std::fill(bytes.end() - 2 * tiny.hidden, bytes.end(), std::byte{0xff});
  spoiled.embed_tokens.bytes = bytes;
  const std::unique_ptr<Backend> backend = make(model.config, spoiled);

  const Tokens tokens = some_tokens(model.config.vocab_size, 40);
  const auto before = backend->forward(one_batch(tokens)).value();
  Tokens with_bad = tokens;
  with_bad[23] = static_cast<TokenId>(tiny.vocab - 1);
  const auto failed = backend->forward(one_batch(with_bad));
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.status().code() == Code::internal);
  // Attention reads whole blocks and tiles of queries, so neighbors of the bad token may be the first row named.
  int named = -1;
  REQUIRE(std::sscanf(failed.status().message().c_str(), "batch row %d", &named) == 1);
  CHECK(named <= 23);
  const auto alone = backend->forward(one_batch({tokens[0]})).value();
  CHECK(alone[0].logits == before[0].logits);
  const auto after = backend->forward(one_batch(tokens)).value();
  for (size_t row = 0; row < tokens.size(); ++row) REQUIRE(after[row].logits == before[row].logits);
}

}  // namespace assay::testing
