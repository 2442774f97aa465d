// The whole forward pass on tiny checkpoints: against a decoder in double, and against itself in other company.

#include "engine/cpu/cpu_backend.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "engine/formats/checkpoint.h"
#include "engine/quantize/quantize_model.h"
#include "tests/engine/backend_contract.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

using namespace assay;
using namespace assay::testing;

namespace {

using cpu::InstructionSet;

// An opened tiny model, quantized when a group size is given (-1: dense).
struct Loaded {
  TempFolder folder;
  std::unique_ptr<Checkpoint> checkpoint;
  ModelConfig config;
  ModelWeights weights;

  explicit Loaded(const TinyModel& model, int64_t group_size = -1, bool symmetric = true) {
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

  std::unique_ptr<Backend> backend(const std::string& dtype, InstructionSet isa, int num_threads = 1) const {
    BackendOptions options;
    options.dtype = dtype;
    options.num_threads = num_threads;
    options.kv_bytes = int64_t{4} << 20;
    auto made = cpu::make_cpu_backend(config, weights, options, isa);
    REQUIRE_MESSAGE(made.ok(), made.status().message());
    return std::move(*made);
  }
};

std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> all;
  for (const auto isa :
       {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512, InstructionSet::avx512_bf16}) {
    if (isa <= cpu::best_instruction_set()) all.push_back(isa);
  }
  return all;
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

Tokens some_tokens(int64_t vocab, int32_t count) {
  Tokens tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>((i * 7919 + 13) % vocab));
  return tokens;
}

struct Variant {
  const char* name;
  TinyModel model;
  int64_t group_size = -1;
  bool symmetric = true;
};

std::vector<Variant> variants() {
  return {{"llama", {}},
          {"llama, head of its own, odd widths",
           {.hidden = 72, .heads = 6, .kv_heads = 2, .head_dim = 48, .intermediate = 104, .tie = false}},
          {"qwen2 with biases", {.architecture = "Qwen2ForCausalLM", .kv_heads = 1}},
          {"llama with every bias", {.tie = false, .attention_bias = true, .mlp_bias = true}},
          {"mistral with a window", {.architecture = "MistralForCausalLM", .head_dim = 32, .sliding_window = 24}},
          {"float32 weights", {.dtype = DType::f32}},
          {"float16 weights", {.dtype = DType::f16}},
          {"int4 by 32", {}, 32},
          {"int4 by 32 asymmetric, head of its own", {.tie = false}, 32, false},
          {"int4 by row", {.intermediate = 96}, 0}};
}

// Mean over rows of the logprob distance, as a score would see it.
double mean_logprob_distance(const std::vector<LogitResult>& got, const std::vector<std::vector<double>>& want,
                             const Tokens& tokens) {
  double total = 0;
  for (size_t row = 0; row < got.size(); ++row) {
    const auto logprobs = reference_logprobs(want[row]);
    total += std::abs(static_cast<double>(got[row].target_logprobs[0]) - logprobs[static_cast<size_t>(tokens[row])]);
  }
  return total / static_cast<double>(got.size());
}

}  // namespace

TEST_CASE("logits equal those of a decoder in double, for every kind of model, instruction set and dtype") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const Loaded model(variant.model, variant.group_size, variant.symmetric);
    const Tokens tokens = some_tokens(model.config.vocab_size, 70);
    const auto want = reference_logits(model.config, model.weights, tokens);
    for (const InstructionSet isa : instruction_sets()) {
      CAPTURE(cpu::instruction_set_name(isa));
      const auto exact = model.backend("float32", isa)->forward(one_batch(tokens)).value();
      for (size_t row = 0; row < tokens.size(); ++row) REQUIRE(distance(exact[row].logits, want[row]).relative < 2e-5);
      CHECK(mean_logprob_distance(exact, want, tokens) < 1e-5);
      const auto rounded = model.backend("bfloat16", isa)->forward(one_batch(tokens)).value();
      for (size_t row = 0; row < tokens.size(); ++row)
        REQUIRE(distance(rounded[row].logits, want[row]).relative < 0.03);
      CHECK(mean_logprob_distance(rounded, want, tokens) < 0.02);
    }
  }
}

TEST_CASE("a row's results have the same bits in any batch") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const Loaded model(variant.model, variant.group_size, variant.symmetric);
    for (const char* dtype : {"bfloat16", "float32"}) {
      CAPTURE(dtype);
      check_backend_contract(*model.backend(dtype, cpu::best_instruction_set()), model.config.vocab_size, 3);
    }
  }
}

TEST_CASE("lesser processors keep the contract too") {
  const Loaded dense({}), quantized({}, 32);
  for (const InstructionSet isa : instruction_sets()) {
    CAPTURE(cpu::instruction_set_name(isa));
    check_backend_contract(*dense.backend("bfloat16", isa), dense.config.vocab_size, 4);
    check_backend_contract(*quantized.backend("float32", isa), quantized.config.vocab_size, 5);
  }
}

TEST_CASE("the number of threads does not show") {
  const Loaded model({}, 32);
  check_backend_contract(*model.backend("bfloat16", cpu::best_instruction_set(), 2), model.config.vocab_size, 6);
  const Tokens tokens = some_tokens(model.config.vocab_size, 200);
  for (const char* dtype : {"bfloat16", "float32"}) {
    const auto one = model.backend(dtype, cpu::best_instruction_set(), 1)->forward(one_batch(tokens)).value();
    const auto three = model.backend(dtype, cpu::best_instruction_set(), 3)->forward(one_batch(tokens)).value();
    for (size_t row = 0; row < one.size(); ++row) {
      REQUIRE(std::memcmp(one[row].logits.data(), three[row].logits.data(), one[row].logits.size() * sizeof(float)) ==
              0);
    }
  }
}

TEST_CASE("logits that are not finite are an internal error that names the row, and do not spoil the next batch") {
  TinyModel tiny;
  tiny.tie = false;
  const Loaded model(tiny);
  // The last token's embedding becomes NaN in a copy of the tensor; everything else is as it was.
  ModelWeights spoiled = model.weights;
  std::vector<std::byte> bytes(spoiled.embed_tokens.bytes.begin(), spoiled.embed_tokens.bytes.end());
  std::fill(bytes.end() - 2 * tiny.hidden, bytes.end(), std::byte{0xff});
  spoiled.embed_tokens.bytes = bytes;
  BackendOptions options;
  options.kv_bytes = int64_t{4} << 20;
  const auto backend = cpu::make_cpu_backend(model.config, spoiled, options).value();

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

TEST_CASE("what the CPU cannot do is refused by name") {
  const Loaded model({});
  BackendOptions options;
  options.dtype = "float8";
  const auto dtype = cpu::make_cpu_backend(model.config, model.weights, options);
  REQUIRE_FALSE(dtype.ok());
  CHECK(dtype.status().code() == Code::unsupported);
  CHECK(dtype.status().message().find("float8") != std::string::npos);
  options.dtype = "auto";
  options.kv_bytes = 1;
  const auto small = cpu::make_cpu_backend(model.config, model.weights, options);
  REQUIRE_FALSE(small.ok());
  CHECK(small.status().code() == Code::invalid_argument);
  TinyModel narrow;
  narrow.head_dim = 24;
  const Loaded odd(narrow);
  const auto head = cpu::make_cpu_backend(odd.config, odd.weights, {});
  REQUIRE_FALSE(head.ok());
  CHECK(head.status().message().find("24") != std::string::npos);
}

TEST_CASE("the backend says what it chose") {
  const Loaded model({}, 32);
  const auto backend = model.backend("auto", cpu::best_instruction_set());
  CHECK(backend->info().name == "cpu");
  CHECK(backend->info().dtype == "bfloat16");
  CHECK(backend->info().detail.find(cpu::instruction_set_name(cpu::best_instruction_set())) != std::string::npos);
  CHECK(backend->info().detail.find("int4") != std::string::npos);
  CHECK(model.backend("float32", InstructionSet::portable)->info().detail.find("oneDNN") != std::string::npos);
}
