#include "engine/model/model_config.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"

using namespace assay;
using testing::check_refused;

namespace {

Json parse(const std::string& text) {
  auto json = Json::parse(text, "test");
  REQUIRE_MESSAGE(json.ok(), json.status().message());
  return *json;
}

Json llama() {
  return parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05,
    "rope_theta": 100000.0, "rope_scaling": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "bos_token_id": 1, "eos_token_id": 2})");
}

Json family(const char* architecture, const char* model_type) {
  Json config = llama();
  config.set("architectures", Json::array().push_back(architecture)).set("model_type", model_type);
  return config;
}
Json mistral() { return family("MistralForCausalLM", "mistral").set("sliding_window", nullptr); }
Json qwen2() { return family("Qwen2ForCausalLM", "qwen2"); }

Json mistral3() {
  return parse(
      R"({"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "image_token_index": 10,
    "text_config": {"model_type": "mistral", "head_dim": 128, "hidden_act": "silu", "hidden_size": 512,
      "intermediate_size": 1024, "max_position_embeddings": 131072, "num_attention_heads": 8, "num_hidden_layers": 3,
      "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 1000000000.0, "sliding_window": null,
      "vocab_size": 1536},
    "vision_config": {"model_type": "pixtral", "hidden_act": "gelu",
      "rope_parameters": {"rope_type": "axial", "rope_theta": 10000.0}},
    "torch_dtype": "bfloat16"})");
}

Result<ModelConfig> read(const Json& config, const Json* generation = nullptr) {
  return read_model_config(config, generation, "config.json");
}

ModelConfig accepted(const Json& config, const Json* generation = nullptr) {
  auto result = read(config, generation);
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  return *result;
}

Json scaling(const std::string& text) { return llama().set("rope_scaling", parse(text)); }

}  // namespace

TEST_CASE("a flat Llama config gives its numbers, head_dim from hidden_size") {
  const ModelConfig config = accepted(llama());
  CHECK(config.architecture == "LlamaForCausalLM");
  CHECK(config.model_type == "llama");
  CHECK(config.hidden_size == 576);
  CHECK(config.intermediate_size == 1536);
  CHECK(config.num_layers == 30);
  CHECK(config.num_heads == 9);
  CHECK(config.num_kv_heads == 3);
  CHECK(config.head_dim == 64);
  CHECK(config.q_width() == 576);
  CHECK(config.kv_width() == 192);
  CHECK(config.vocab_size == 49152);
  CHECK(config.max_position_embeddings == 8192);
  CHECK(config.rms_norm_eps == 1e-5);
  CHECK(config.rope.kind == RopeConfig::Kind::plain);
  CHECK(config.rope.theta == 1e5);
  CHECK(config.tie_word_embeddings);
  CHECK(config.torch_dtype == "bfloat16");
  CHECK(config.bos_token_id == TokenId{1});
  CHECK(config.eos_token_ids == Tokens{2});
  CHECK_FALSE(config.attention_bias);
  CHECK(config.sliding_window == 0);
}

TEST_CASE("the text part of a multimodal config is read, and its eyes may turn as they like") {
  const ModelConfig config = accepted(mistral3());
  CHECK(config.architecture == "Mistral3ForConditionalGeneration");
  CHECK(config.model_type == "mistral");
  CHECK(config.head_dim == 128);
  CHECK(config.q_width() == 1024);
  CHECK(config.rope.theta == 1e9);
  CHECK_FALSE(config.tie_word_embeddings);
  CHECK(config.sliding_window == 0);
  Json other = mistral3();
  other.find("text_config")->set("model_type", "ministral3");
  check_refused(read(other), Code::unsupported, "text_config.model_type");
}

TEST_CASE("rope_parameters says the same as the flat fields") {
  Json config = llama();
  config.set("rope_theta", nullptr).set("rope_parameters", parse(R"({"rope_type": "default", "rope_theta": 123.5})"));
  CHECK(accepted(config).rope.theta == 123.5);
  config.set("rope_theta", 7.0);
  CHECK_MESSAGE(accepted(config).rope.theta == 123.5, "the nested value is the newer writer's");
  config.set("rope_parameters", nullptr);
  CHECK(accepted(config).rope.theta == 7.0);
  config.set("rope_theta", nullptr);
  CHECK_MESSAGE(accepted(config).rope.theta == 10000.0, "the default of all three classes");
}

TEST_CASE("every supported kind of rope scaling is read with its defaults") {
  using Kind = RopeConfig::Kind;
  CHECK(accepted(scaling(R"({"type": "linear", "factor": 2})")).rope.kind == Kind::linear);
  const RopeConfig llama3 = accepted(scaling(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 4096})"))
                                .rope;
  CHECK(llama3.kind == Kind::llama3);
  CHECK(llama3.factor == 8.0);
  CHECK(llama3.original_max_position == 4096);
  const RopeConfig yarn = accepted(scaling(R"({"rope_type": "yarn", "factor": 4.0,
      "original_max_position_embeddings": 2048})"))
                              .rope;
  CHECK(yarn.kind == Kind::yarn);
  CHECK(yarn.beta_fast == 32);
  CHECK(yarn.truncate);
  CHECK(*yarn.attention_factor == doctest::Approx(0.1 * std::log(4.0) + 1).epsilon(1e-12));
  const RopeConfig implied =
      accepted(scaling(R"({"rope_type": "yarn", "original_max_position_embeddings": 2048})")).rope;
  CHECK(implied.factor == 4.0);
  const RopeConfig given = accepted(scaling(R"({"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5})")).rope;
  CHECK(*given.attention_factor == 1.5);
}

TEST_CASE("dynamic rope keeps to its original context, where it is plain") {
  const ModelConfig config = accepted(scaling(R"({"type": "dynamic", "factor": 4.0})"));
  CHECK(config.rope.kind == RopeConfig::Kind::dynamic);
  CHECK(config.max_position_embeddings == 8192);
  const ModelConfig shorter =
      accepted(scaling(R"({"type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 2048})"));
  CHECK(shorter.max_position_embeddings == 2048);
}

TEST_CASE("unknown rope kinds and partial rotation are refused by name") {
  check_refused(read(scaling(R"({"rope_type": "longrope", "factor": 4})")), Code::unsupported, "longrope");
  check_refused(read(scaling(R"({"rope_type": "longrope", "factor": 4})")), Code::unsupported, "llama3");
  check_refused(read(scaling(R"({"rope_type": "axial"})")), Code::unsupported, "rope_scaling.rope_type");
  check_refused(read(llama().set("partial_rotary_factor", 0.5)), Code::unsupported, "partial_rotary_factor");
  check_refused(read(llama().set("rope_scaling", "linear")), Code::bad_data, "rope_scaling");
  check_refused(read(scaling(R"({"rope_type": "linear"})")), Code::bad_data, "factor");
  check_refused(read(scaling(R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4})")),
                Code::bad_data, "high_freq_factor");
}

TEST_CASE("an unknown architecture is refused with the list of supported ones") {
  const auto result = read(family("GPT2LMHeadModel", "gpt2"));
  check_refused(result, Code::unsupported, "GPT2LMHeadModel");
  for (const char* name :
       {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Mistral3ForConditionalGeneration"}) {
    check_refused(result, Code::unsupported, name);
  }
  check_refused(read(llama().set("architectures", Json::array())), Code::unsupported, "empty list");
  check_refused(read(parse("{}")), Code::unsupported, "no architectures");
  check_refused(read(parse("[1]")), Code::bad_data, "config.json");
  Json unnamed = qwen2();
  unnamed.set("architectures", nullptr);
  CHECK(accepted(unnamed).architecture == "Qwen2ForCausalLM");
}

TEST_CASE("an activation other than silu is refused") {
  check_refused(read(llama().set("hidden_act", "gelu")), Code::unsupported, "\"gelu\"");
}

TEST_CASE("biases follow the class: Llama by its switches, Qwen2 always on q, k and v, Mistral never") {
  const ModelConfig biased = accepted(llama().set("attention_bias", true).set("mlp_bias", true));
  CHECK(biased.attention_bias);
  CHECK(biased.attention_out_bias);
  CHECK(biased.mlp_bias);
  const ModelConfig qwen = accepted(qwen2());
  CHECK(qwen.attention_bias);
  CHECK_FALSE(qwen.attention_out_bias);
  CHECK_FALSE(accepted(mistral().set("attention_bias", true)).attention_bias);
}

TEST_CASE("sliding windows: Mistral's number, Qwen2's only when used, mixtures refused") {
  CHECK(accepted(mistral()).sliding_window == 0);
  CHECK(accepted(mistral().set("sliding_window", 4096)).sliding_window == 4096);
  CHECK_MESSAGE(accepted(mistral().set("sliding_window", 8192)).sliding_window == 0, "as wide as the context");
  CHECK_MESSAGE(accepted(family("MistralForCausalLM", "mistral")).sliding_window == 4096, "the class default");
  CHECK(accepted(qwen2().set("sliding_window", 4096)).sliding_window == 0);
  Json used = qwen2().set("sliding_window", 4096).set("use_sliding_window", true);
  CHECK(accepted(used.set("max_window_layers", 30)).sliding_window == 0);
  CHECK(accepted(used.set("max_window_layers", 0)).sliding_window == 4096);
  check_refused(read(used.set("max_window_layers", 10)), Code::unsupported, "mix");
  Json types = qwen2();
  types.set("layer_types", parse(R"(["full_attention", "sliding_attention"])"));
  check_refused(read(types), Code::unsupported, "layer_types");
}

TEST_CASE("eos ids come from generation_config.json first, as a number or a list without repeats") {
  const Json list = parse(R"({"eos_token_id": [5, 7, 5], "bos_token_id": null})");
  const ModelConfig config = accepted(llama(), &list);
  CHECK(config.eos_token_ids == Tokens{5, 7});
  CHECK(config.bos_token_id == TokenId{1});
  const Json nothing = parse("{}");
  CHECK(accepted(llama(), &nothing).eos_token_ids == Tokens{2});
  const Json outside = parse(R"({"eos_token_id": 49152})");
  check_refused(read(llama(), &outside), Code::bad_data, "generation_config.json: eos_token_id");
}

TEST_CASE("a number out of bounds is refused with its field before anything is sized by it") {
  struct Lie {
    const char* field;
    Json value;
  };
  const Lie lies[] = {
      {"hidden_size", 0},
      {"hidden_size", int64_t{1} << 40},
      {"hidden_size", "576"},
      {"hidden_size", 576.5},
      {"intermediate_size", -1},
      {"num_hidden_layers", 1000000},
      {"num_attention_heads", 0},
      {"num_key_value_heads", 2},
      {"num_key_value_heads", 18},
      {"head_dim", 63},
      {"head_dim", 4096},
      {"vocab_size", int64_t{1} << 50},
      {"rms_norm_eps", -1.0},
      {"rms_norm_eps", std::nan("")},
      {"max_position_embeddings", 0},
      {"rope_theta", 0.0},
      {"rope_theta", INFINITY},
      {"eos_token_id", -3},
      {"attention_bias", "false"},
      {"num_hidden_layers", nullptr},
  };
  for (const Lie& lie : lies) check_refused(read(llama().set(lie.field, lie.value)), Code::bad_data, lie.field);
  check_refused(read(llama().set("num_attention_heads", 7).set("num_key_value_heads", 7)), Code::bad_data,
                "num_attention_heads");
}

TEST_CASE("fields swapped for arbitrary values never crash, and what is accepted stays within bounds") {
  const Json values[] = {nullptr,
                         true,
                         -1,
                         0,
                         1,
                         3,
                         INT64_MAX,
                         INT64_MIN,
                         0.5,
                         -0.0,
                         1e300,
                         std::nan(""),
                         "",
                         "silu",
                         Json::array(),
                         Json::object(),
                         Json::array().push_back(Json::object())};
  const auto check_variants = [&](const Json& config, Json& part) {
    for (size_t member = 0; member < part.size(); ++member) {
      const Json original = part.as_object()[member].second;
      for (const Json& value : values) {
        part.as_object()[member].second = value;
        const auto result = read(config, &config);
        if (!result.ok()) continue;
        CHECK(result->num_layers <= 1000);
        CHECK(result->hidden_size > 0);
        CHECK(result->num_heads % result->num_kv_heads == 0);
        CHECK(result->head_dim % 2 == 0);
      }
      part.as_object()[member].second = original;
    }
  };
  for (Json config : {llama(), mistral(), qwen2(), mistral3()}) check_variants(config, config);
  Json nested = mistral3();
  check_variants(nested, *nested.find("text_config"));
}

TEST_CASE("recorded configs of published models are accepted") {
  auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  for (const char* name :
       {"lm_eval/config.json", "lm_eval_qwen/model_config/config.json", "model/model/bf16/config.json",
        "model/model/w4a16_rtn/config.as_saved_by_llmcompressor_0.14.json"}) {
    CAPTURE(name);
    const auto text = real_files().read(*shared / "oracle" / name);
    REQUIRE(text.ok());
    CHECK(accepted(parse(*text)).rope.kind == RopeConfig::Kind::plain);
  }
}
