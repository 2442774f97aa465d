// The whole forward pass on the device: against a decoder in double, against the CPU backend, and against itself in
// other company.

#include "engine/cuda/cuda_backend.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/cpu/cpu_backend.h"
#include "engine/runtime/token_sampler.h"
#include "tests/engine/backend_contract.h"
#include "tests/engine/cuda/on_device.h"
#include "tests/engine/tiny_model.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::testing;

namespace {

// A tiny model that opens CUDA backends.
struct Loaded : LoadedModel {
  using LoadedModel::LoadedModel;

  std::unique_ptr<Backend> backend(const std::string& dtype, const std::string& int4_weights = "packed") const {
    BackendOptions options = options_for(dtype);
    options.int4_weights = int4_weights;
    auto made = cuda::make_cuda_backend(config, weights, options);
    REQUIRE_MESSAGE(made.ok(), made.status().message());
    return std::move(*made);
  }

  static BackendOptions options_for(const std::string& dtype) {
    BackendOptions options;
    options.dtype = dtype;
    options.kv_bytes = int64_t{8} << 20;
    options.max_batch_tokens = 512;
    options.max_model_len = 2048;
    return options;
  }
};

std::vector<double> doubles_of(const std::vector<float>& values) { return {values.begin(), values.end()}; }

std::vector<ModelVariant> variants() {
  return {{"llama", {}},
          {"llama with heads of 64", {.heads = 6, .head_dim = 64}},
          {"llama with heads of 128", {.heads = 4, .kv_heads = 1, .head_dim = 128, .tie = false}},
          {"llama, head of its own, odd widths",
           {.hidden = 72, .heads = 6, .kv_heads = 2, .head_dim = 48, .intermediate = 104, .tie = false}},
          {"qwen2 with biases", {.architecture = "Qwen2ForCausalLM", .kv_heads = 1, .head_dim = 64}},
          {"llama with every bias", {.tie = false, .attention_bias = true, .mlp_bias = true}},
          {"mistral with a window", {.architecture = "MistralForCausalLM", .head_dim = 64, .sliding_window = 24}},
          {"float32 weights", {.dtype = DType::f32}},
          {"float16 weights", {.dtype = DType::f16}},
          {"two chunks of vocabulary", {.vocab = 9001}},
          {"int4 by 32", {.head_dim = 64}, 32},
          {"int4 by 32 asymmetric, head of its own", {.tie = false}, 32, false},
          {"int4 by row", {.intermediate = 96}, 0}};
}

}  // namespace

TEST_CASE("logits on the device equal those of a decoder in double, for every kind of model and dtype") {
  ASSAY_NEEDS_DEVICE();
  for (const ModelVariant& variant : variants()) {
    CAPTURE(variant.name);
    const Loaded model(variant.model, variant.group_size, variant.symmetric);
    const Tokens tokens = some_tokens(model.config.vocab_size, 70);
    const auto want = reference_logits(model.config, model.weights, tokens);
    const auto exact = model.backend("float32")->forward(one_batch(tokens)).value();
    for (size_t row = 0; row < tokens.size(); ++row) REQUIRE(distance(exact[row].logits, want[row]).relative < 2e-5);
    CHECK(mean_logprob_distance(exact, want, tokens) < 1e-5);
    for (const char* form : {"packed", "expanded"}) {
      const auto rounded = model.backend("bfloat16", form)->forward(one_batch(tokens)).value();
      for (size_t row = 0; row < tokens.size(); ++row)
        REQUIRE(distance(rounded[row].logits, want[row]).relative < 0.03);
      CHECK(mean_logprob_distance(rounded, want, tokens) < 0.02);
    }
  }
}

TEST_CASE("a row's results on the device have the same bits in any batch") {
  ASSAY_NEEDS_DEVICE();
  for (const ModelVariant& variant : variants()) {
    CAPTURE(variant.name);
    const Loaded model(variant.model, variant.group_size, variant.symmetric);
    for (const char* dtype : {"bfloat16", "float32"}) {
      CAPTURE(dtype);
      check_backend_contract(*model.backend(dtype), model.config.vocab_size, 3);
    }
  }
}

TEST_CASE("expanded weights give the bits of packed ones, and generated tokens stay near given ones") {
  ASSAY_NEEDS_DEVICE();
  for (const int64_t group_size : {32, 64, 0}) {
    const Loaded model({.head_dim = 64}, group_size);
    const Tokens tokens = some_tokens(model.config.vocab_size, 100);
    Batch generated = one_batch(tokens);
    generated.segments[0].generated = true;
    std::vector<std::vector<LogitResult>> rows;
    for (const char* form : {"packed", "expanded"}) {
      const auto backend = model.backend("bfloat16", form);
      CHECK(backend->info().detail.find("8 with W4A16 kernels") != std::string::npos);
      rows.push_back(backend->forward(one_batch(tokens)).value());
      rows.push_back(backend->forward(generated).value());
    }
    for (size_t row = 0; row < tokens.size(); ++row) {
      REQUIRE(rows[0][row].logits == rows[2][row].logits);
      REQUIRE(rows[1][row].logits == rows[3][row].logits);
      REQUIRE(distance(rows[1][row].logits, doubles_of(rows[0][row].logits)).relative < 0.03);
    }
  }
}

TEST_CASE("replayed decoding steps give the bits of launched ones, whatever their neighbors") {
  ASSAY_NEEDS_DEVICE();
  for (const ModelVariant& variant : {ModelVariant{"int4", {.head_dim = 64}, 32}, ModelVariant{"dense", {}},
                                      ModelVariant{"plain attention", {.head_dim = 48}, 32}}) {
    CAPTURE(variant.name);
    const Loaded model(variant.model, variant.group_size);
    constexpr int32_t kGiven = 250, kSteps = 20, kBlocks = 17;
    const Tokens tokens = some_tokens(model.config.vocab_size, kGiven + kSteps);
    const auto backend = model.backend("bfloat16");
    // Sequence s has its first block at s * kBlocks; all hold the same tokens.
    const auto step = [&](int32_t count, int32_t position, bool kept) {
      Batch batch;
      for (int32_t s = 0; s < count; ++s) {
        BatchSegment segment{s, 1, position, {}, true};
        for (int32_t b = 0; b * kKvBlockTokens <= position; ++b) segment.block_table.push_back(s * kBlocks + b);
        batch.tokens.push_back(tokens[static_cast<size_t>(position)]);
        batch.segments.push_back(segment);
        batch.logits.push_back({s, {}, 3, kept});
      }
      return backend->forward(batch).value();
    };
    constexpr int32_t kMost = 7;
    for (int32_t s = 0; s < kMost; ++s) {
      Batch given = one_batch(Tokens(tokens.begin(), tokens.begin() + kGiven));
      given.logits.clear();
      for (KvBlockId& block : given.segments[0].block_table) block += s * kBlocks;
      REQUIRE(backend->forward(given).ok());
    }
    for (int32_t i = 0; i < kSteps; ++i) {
      const auto want = step(1, kGiven + i, true);
      for (const int32_t count : {kMost, 1, 5}) {
        for (const LogitResult& got : step(count, kGiven + i, false)) {
          REQUIRE(got.argmax == want[0].argmax);
          REQUIRE(got.argmax_logprob == want[0].argmax_logprob);
          REQUIRE(got.top.size() == 3);
          for (size_t t = 0; t < 3; ++t) {
            REQUIRE(got.top[t].token == want[0].top[t].token);
            REQUIRE(got.top[t].logprob == want[0].top[t].logprob);
          }
        }
      }
    }
    CHECK(cuda::num_replayed_steps(*backend) > 2 * kSteps);
  }
}

TEST_CASE("drawn tokens are those of the row's logits, launched or replayed, whatever their neighbors") {
  ASSAY_NEEDS_DEVICE();
  const Loaded model({.head_dim = 64}, 32);
  const Tokens tokens = some_tokens(model.config.vocab_size, 60);
  const auto backend = model.backend("bfloat16");
  REQUIRE(backend->info().draws_tokens);
  const auto step = [&](int32_t count, int32_t position, bool kept) {
    Batch batch;
    for (int32_t s = 0; s < count; ++s) {
      BatchSegment segment{s, 1, position, {}, true};
      for (int32_t b = 0; b * kKvBlockTokens <= position; ++b) segment.block_table.push_back(s * 4 + b);
      batch.tokens.push_back(tokens[static_cast<size_t>(position)]);
      batch.segments.push_back(segment);
      LogitRequest request{s, {}, 0, kept, {}};
      if (s != 1) request.draw = TokenDraw{0.7f, 0, 0.9f, 0, 5, s, position + 1};
      batch.logits.push_back(request);
    }
    return backend->forward(batch).value();
  };
  for (int32_t position = 0; position < 60; ++position) {
    const auto want = step(1, position, true);
    for (const int32_t count : {1, 5}) {
      const auto got = step(count, position, false);
      for (int32_t s = 0; s < count; ++s) {
        if (s == 1) continue;
        REQUIRE(got[static_cast<size_t>(s)].drawn ==
                draw_token(want[0].logits, TokenDraw{0.7f, 0, 0.9f, 0, 5, s, position + 1}));
      }
      REQUIRE(got[0].drawn_logprob == want[0].drawn_logprob);
    }
  }
  CHECK(cuda::num_replayed_steps(*backend) > 60);
}

TEST_CASE("a batch that is fed the tokens of the one before gives the bits of one that is given them") {
  ASSAY_NEEDS_DEVICE();
  constexpr int32_t kSteps = 60;
  const Loaded model({.head_dim = 64}, 32);
  const Tokens prompt = some_tokens(model.config.vocab_size, 5);
  const auto told = model.backend("bfloat16"), fed = model.backend("bfloat16");
  REQUIRE(fed->info().feeds_tokens);
  const auto step = [&](int32_t count, int32_t position, const Tokens* tokens) {
    Batch batch;
    for (int32_t s = 0; s < count; ++s) {
      BatchSegment segment{s, 1, position, {}, true};
      for (int32_t b = 0; b * kKvBlockTokens <= position; ++b) segment.block_table.push_back(s * 4 + b);
      batch.tokens.push_back(tokens ? (*tokens)[static_cast<size_t>(s)] : 0);
      if (!tokens) batch.feeds.push_back({s, count - 1 - s});  // requests were in another order before
      batch.segments.push_back(segment);
      LogitRequest request{s, {}, 0, false, {}};
      if ((s + position) % 3 == 1) request.draw = TokenDraw{0.7f, 0, 0.9f, 0, 5, s, position + 1};
      batch.logits.push_back(request);
    }
    return batch;
  };
  const auto chosen = [](const Batch& batch, const std::vector<LogitResult>& results) {
    Tokens tokens;
    for (size_t i = results.size(); i-- > 0;)
      tokens.push_back(batch.logits[i].draw ? results[i].drawn : results[i].argmax);
    return tokens;
  };
  for (const int32_t count : {1, 5}) {
    std::vector<Batch> batches = {step(count, 0, &prompt)};
    batches.reserve(kSteps);
    REQUIRE(fed->submit(batches[0]).ok());
    Batch given = batches[0];
    for (int32_t position = 1; position <= kSteps; ++position) {
      if (position < kSteps) {
        batches.push_back(step(count, position, nullptr));
        REQUIRE(fed->submit(batches.back()).ok());
      }
      const auto want = told->forward(given).value();
      const auto got = fed->collect().value();
      REQUIRE(got.size() == want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        REQUIRE(got[i].argmax == want[i].argmax);
        REQUIRE(got[i].argmax_logprob == want[i].argmax_logprob);
        REQUIRE(got[i].drawn == want[i].drawn);
      }
      const Tokens next = chosen(given, want);
      given = step(count, position, &next);
    }
  }
  CHECK(cuda::num_replayed_steps(*fed) > kSteps);
}

TEST_CASE("long contexts agree with the CPU backend") {
  ASSAY_NEEDS_DEVICE();
  const Loaded model({.heads = 4, .kv_heads = 1, .head_dim = 128});
  const Tokens tokens = some_tokens(model.config.vocab_size, 500);
  Batch batch = one_batch(tokens);
  const auto ours = model.backend("bfloat16")->forward(batch).value();
  const auto theirs = cpu::make_cpu_backend(model.config, model.weights, Loaded::options_for("bfloat16")).value();
  const auto want = theirs->forward(batch).value();
  double total = 0;
  for (size_t row = 0; row < ours.size(); ++row)
    total += std::abs(ours[row].target_logprobs[0] - want[row].target_logprobs[0]);
  CHECK(total / static_cast<double>(ours.size()) < 0.02);
}

TEST_CASE("logits that are not finite on the device name their row, and do not spoil the next batch") {
  ASSAY_NEEDS_DEVICE();
  check_bad_token_is_named(64, [](const ModelConfig& config, const ModelWeights& weights) {
    return cuda::make_cuda_backend(config, weights, Loaded::options_for("bfloat16")).value();
  });
}

TEST_CASE("memory that the device does not have is refused before anything is loaded, and later ones work") {
  ASSAY_NEEDS_DEVICE();
  const Loaded model(TinyModel{});
  BackendOptions options = Loaded::options_for("bfloat16");
  options.kv_bytes = int64_t{1} << 50;
  const auto refused = cuda::make_cuda_backend(model.config, model.weights, options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().code() == Code::out_of_memory);
  const auto buffer = cuda::DeviceBuffer::allocate(int64_t{1} << 50, "far too much");
  REQUIRE_FALSE(buffer.ok());
  CHECK(buffer.status().code() == Code::out_of_memory);
  CHECK(buffer.status().message().find("far too much") != std::string::npos);
  CHECK(model.backend("bfloat16")->forward(one_batch({1, 2, 3})).ok());
}

TEST_CASE("what the CUDA backend cannot do is refused by name, with a device or without") {
  const Loaded model(TinyModel{});
  BackendOptions options;
  options.dtype = "float8";
  const auto dtype = cuda::make_cuda_backend(model.config, model.weights, options);
  REQUIRE_FALSE(dtype.ok());
  CHECK(dtype.status().code() == Code::unsupported);
  CHECK(dtype.status().message().find("float8") != std::string::npos);
  TinyModel narrow;
  narrow.head_dim = 24;
  const Loaded odd(narrow);
  const auto head = cuda::make_cuda_backend(odd.config, odd.weights, {});
  REQUIRE_FALSE(head.ok());
  CHECK(head.status().message().find("24") != std::string::npos);
}

TEST_CASE("without a device the backend says what is missing") {
  std::string why_not;
  if (cuda::has_device(&why_not)) {
    MESSAGE("skipped: there is a device");
    return;
  }
  CHECK_FALSE(why_not.empty());
  const Loaded model(TinyModel{});
  const auto made = cuda::make_cuda_backend(model.config, model.weights, {});
  REQUIRE_FALSE(made.ok());
  CHECK(made.status().code() == Code::unavailable);
  CHECK(made.status().message().find("--backend cpu") != std::string::npos);
}

TEST_CASE("the backend on the device says what it chose") {
  ASSAY_NEEDS_DEVICE();
  const Loaded model({.head_dim = 64}, 32);
  const auto backend = model.backend("auto");
  CHECK(backend->info().name == "cuda");
  CHECK(backend->info().dtype == "bfloat16");
  CHECK(backend->info().detail.find("tensor-core attention") != std::string::npos);
  CHECK(backend->info().detail.find("8 of 9 int4") != std::string::npos);
  CHECK(backend->info().max_batch_tokens == 512);
  MESSAGE(backend->info().detail);
}
