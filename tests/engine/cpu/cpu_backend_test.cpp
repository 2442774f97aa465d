// The whole forward pass on tiny checkpoints: against a decoder in double, and against itself in other company.

#include "engine/cpu/cpu_backend.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "tests/engine/backend_contract.h"
#include "tests/engine/tiny_model.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::testing;

namespace {

using cpu::InstructionSet;

// A tiny model that opens CPU backends.
struct Loaded : LoadedModel {
  using LoadedModel::LoadedModel;

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

std::vector<ModelVariant> variants() {
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

}  // namespace

TEST_CASE("logits equal those of a decoder in double, for every kind of model, instruction set and dtype") {
  for (const ModelVariant& variant : variants()) {
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
  for (const ModelVariant& variant : variants()) {
    CAPTURE(variant.name);
    const Loaded model(variant.model, variant.group_size, variant.symmetric);
    for (const char* dtype : {"bfloat16", "float32"}) {
      CAPTURE(dtype);
      check_backend_contract(*model.backend(dtype, cpu::best_instruction_set()), model.config.vocab_size, 3);
    }
  }
}

TEST_CASE("lesser processors keep the contract too") {
  const Loaded dense(TinyModel{}), quantized({}, 32);
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
  check_bad_token_is_named(16, [](const ModelConfig& config, const ModelWeights& weights) {
    BackendOptions options;
    options.kv_bytes = int64_t{4} << 20;
    return cpu::make_cpu_backend(config, weights, options).value();
  });
}

TEST_CASE("what the CPU cannot do is refused by name") {
  const Loaded model(TinyModel{});
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
