#include "engine/model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace assay {
namespace {

// Bounds that every published model keeps with room to spare. They stand before any allocation is sized by these
// numbers.
constexpr int64_t kMaxHiddenSize = int64_t{1} << 17;
constexpr int64_t kMaxIntermediateSize = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 1024;
constexpr int64_t kMaxVocabSize = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 24;
constexpr size_t kMaxEosIds = 256;

struct Family {
  const char* architecture;
  const char* model_type;       // of config.json
  const char* text_model_type;  // of its text part
};
constexpr std::array<Family, 4> kFamilies = {{
    {"LlamaForCausalLM", "llama", "llama"},
    {"MistralForCausalLM", "mistral", "mistral"},
    {"Qwen2ForCausalLM", "qwen2", "qwen2"},
    {"Mistral3ForConditionalGeneration", "mistral3", "mistral"},
}};

std::string supported_architectures() {
  std::string names;
  for (const Family& family : kFamilies) names += (names.empty() ? "" : ", ") + std::string(family.architecture);
  return names;
}

// By `architectures`; a config without it is recognized by its model_type, as Transformers does.
Result<Family> read_family(const JsonField& root, std::string_view source) {
  std::string found;
  if (auto architectures = root.find("architectures")) {
    ASSAY_ASSIGN(auto items, architectures->items());
    for (const JsonField& item : items) {
      ASSAY_ASSIGN(const std::string name, item.as_string());
      for (const Family& family : kFamilies) {
        if (name == family.architecture) return family;
      }
      found += (found.empty() ? "" : ", ") + name;
    }
    return unsupported(fmt::format("{}: architectures: found {}, supported are {}", source,
                                   found.empty() ? "an empty list" : found, supported_architectures()));
  }
  ASSAY_ASSIGN(const std::string type, root.string_or("model_type", ""));
  for (const Family& family : kFamilies) {
    if (type == family.model_type) return family;
  }
  return unsupported(fmt::format("{}: no architectures, and model_type is \"{}\"; supported are {}", source, type,
                                 supported_architectures()));
}

Result<double> positive_real(const JsonField& field, std::string_view key, std::optional<double> other, double high) {
  auto member = field.find(key);
  if (!member) {
    if (other) return *other;
    ASSAY_ASSIGN(member, field.get(key));
  }
  ASSAY_ASSIGN(const double value, member->as_real());
  if (!std::isfinite(value) || value <= 0 || value > high) {
    return member->error(fmt::format("a number above 0 and at most {:g}", high));
  }
  return value;
}

// Rotary settings --------------------------------------------------------------------------------------------------

// Where the settings lie: `rope_scaling` when it says something, else `rope_parameters`; theta in either, or flat.
struct RopeFields {
  std::optional<JsonField> settings;
  std::optional<JsonField> theta_holder;
};

RopeFields find_rope_fields(const JsonField& text) {
  RopeFields fields;
  auto parameters = text.find("rope_parameters");
  fields.settings = text.find("rope_scaling");
  if (!fields.settings) fields.settings = parameters;
  for (const auto& candidate : {fields.settings, parameters, std::optional<JsonField>(text)}) {
    if (!fields.theta_holder && candidate && candidate->find("rope_theta")) fields.theta_holder = candidate;
  }
  return fields;
}

Result<RopeConfig::Kind> read_rope_kind(const JsonField& settings) {
  using Kind = RopeConfig::Kind;
  auto member = settings.find("rope_type");
  if (!member) member = settings.find("type");
  if (!member) return Kind::plain;
  ASSAY_ASSIGN(const std::string type, member->as_string());
  if (type == "default") return Kind::plain;
  if (type == "linear") return Kind::linear;
  if (type == "llama3") return Kind::llama3;
  if (type == "yarn") return Kind::yarn;
  if (type == "dynamic") return Kind::dynamic;
  const Status status = member->error("one of default, linear, llama3, yarn, dynamic");
  return unsupported(status.message());
}

Status read_llama3(const JsonField& settings, RopeConfig& rope) {
  ASSAY_ASSIGN(rope.low_freq_factor, positive_real(settings, "low_freq_factor", {}, 1e6));
  ASSAY_ASSIGN(rope.high_freq_factor, positive_real(settings, "high_freq_factor", {}, 1e6));
  if (rope.high_freq_factor > rope.low_freq_factor) return ok_status();
  return settings.find("high_freq_factor")
      ->error(fmt::format("a number above low_freq_factor ({:g})", rope.low_freq_factor));
}

double yarn_magnitude(double factor, double scale) { return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0; }

Status read_yarn(const JsonField& settings, RopeConfig& rope) {
  ASSAY_ASSIGN(rope.beta_fast, positive_real(settings, "beta_fast", 32, 1e6));
  ASSAY_ASSIGN(rope.beta_slow, positive_real(settings, "beta_slow", 1, 1e6));
  ASSAY_ASSIGN(rope.truncate, settings.bool_or("truncate", true));
  if (settings.find("attention_factor")) {
    ASSAY_ASSIGN(rope.attention_factor, positive_real(settings, "attention_factor", {}, 1e6));
    return ok_status();
  }
  ASSAY_ASSIGN(const double mscale, settings.real_or("mscale", 0));
  ASSAY_ASSIGN(const double mscale_all_dim, settings.real_or("mscale_all_dim", 0));
  rope.attention_factor = mscale != 0 && mscale_all_dim != 0
                              ? yarn_magnitude(rope.factor, mscale) / yarn_magnitude(rope.factor, mscale_all_dim)
                              : yarn_magnitude(rope.factor, 1);
  if (std::isfinite(*rope.attention_factor) && *rope.attention_factor > 0) return ok_status();
  return settings.find("mscale")->error("a number that gives, with mscale_all_dim, a positive attention factor");
}

Status refuse_partial_rotary(const JsonField& holder) {
  auto member = holder.find("partial_rotary_factor");
  if (!member) return ok_status();
  ASSAY_ASSIGN(const double factor, member->as_real());
  if (factor == 1.0) return ok_status();
  return unsupported(member->error("1: every dimension of a head is rotated in the supported architectures").message());
}

Result<RopeConfig> read_rope(const JsonField& text, int64_t max_positions) {
  RopeConfig rope;
  const RopeFields fields = find_rope_fields(text);
  if (fields.theta_holder) {
    ASSAY_ASSIGN(rope.theta, positive_real(*fields.theta_holder, "rope_theta", {}, 1e15));
    if (rope.theta <= 1) return fields.theta_holder->find("rope_theta")->error("a number above 1");
  }
  ASSAY_TRY(refuse_partial_rotary(text));
  rope.original_max_position = max_positions;
  if (!fields.settings) return rope;
  const JsonField& settings = *fields.settings;
  if (!settings.json().is_object()) return settings.error("an object");
  ASSAY_TRY(refuse_partial_rotary(settings));
  ASSAY_ASSIGN(rope.kind, read_rope_kind(settings));
  if (rope.kind == RopeConfig::Kind::plain) return rope;
  ASSAY_ASSIGN(rope.original_max_position,
               settings.int_or("original_max_position_embeddings", max_positions, 1, kMaxPositions));
  std::optional<double> implied;
  if (rope.kind == RopeConfig::Kind::yarn) {
    implied = static_cast<double>(max_positions) / static_cast<double>(rope.original_max_position);
  }
  ASSAY_ASSIGN(rope.factor, positive_real(settings, "factor", implied, 1e6));
  if (rope.kind == RopeConfig::Kind::llama3) ASSAY_TRY(read_llama3(settings, rope));
  if (rope.kind == RopeConfig::Kind::yarn) ASSAY_TRY(read_yarn(settings, rope));
  return rope;
}

// Sizes --------------------------------------------------------------------------------------------------------------

Status read_heads(const JsonField& text, ModelConfig& config) {
  ASSAY_ASSIGN(config.num_heads, text.get_int("num_attention_heads", 1, kMaxHeads));
  ASSAY_ASSIGN(config.num_kv_heads, text.int_or("num_key_value_heads", config.num_heads, 1, kMaxHeads));
  if (config.num_heads % config.num_kv_heads != 0) {
    return text.find("num_key_value_heads")
        ->error(fmt::format("a divisor of num_attention_heads ({})", config.num_heads));
  }
  const JsonField heads = *text.find("num_attention_heads");
  auto head_dim = text.find("head_dim");
  if (!head_dim && config.hidden_size % config.num_heads != 0) {
    return heads.error(fmt::format("a divisor of hidden_size ({}), or a head_dim beside it", config.hidden_size));
  }
  ASSAY_ASSIGN(config.head_dim, text.int_or("head_dim", config.hidden_size / config.num_heads, 1, kMaxHeadDim));
  if (config.head_dim % 2 == 0 && config.head_dim <= kMaxHeadDim) return ok_status();
  return (head_dim ? *head_dim : heads)
      .error(fmt::format("an even head dimension of at most {}, for rotary embeddings turn pairs", kMaxHeadDim));
}

Status read_sizes(const JsonField& text, ModelConfig& config) {
  ASSAY_ASSIGN(config.hidden_size, text.get_int("hidden_size", 1, kMaxHiddenSize));
  ASSAY_ASSIGN(config.intermediate_size, text.get_int("intermediate_size", 1, kMaxIntermediateSize));
  ASSAY_ASSIGN(config.num_layers, text.get_int("num_hidden_layers", 1, kMaxLayers));
  ASSAY_ASSIGN(config.vocab_size, text.get_int("vocab_size", 1, kMaxVocabSize));
  ASSAY_ASSIGN(config.max_position_embeddings, text.get_int("max_position_embeddings", 1, kMaxPositions));
  ASSAY_ASSIGN(config.rms_norm_eps, positive_real(text, "rms_norm_eps", 1e-6, 0.1));
  return read_heads(text, config);
}

Status read_activation(const JsonField& text) {
  ASSAY_ASSIGN(const std::string activation, text.string_or("hidden_act", "silu"));
  if (activation == "silu") return ok_status();
  return unsupported(
      text.find("hidden_act")->error("\"silu\", the activation of the supported architectures").message());
}

// Which biases an architecture has is its class's rule; only Llama lets the config choose.
Status read_biases(const JsonField& text, ModelConfig& config) {
  if (config.model_type == "qwen2") config.attention_bias = true;
  if (config.model_type != "llama") return ok_status();
  ASSAY_ASSIGN(config.attention_bias, text.bool_or("attention_bias", false));
  ASSAY_ASSIGN(config.mlp_bias, text.bool_or("mlp_bias", false));
  config.attention_out_bias = config.attention_bias;
  return ok_status();
}

// Attention windows
// ----------------------------------------------------------------------------------------------------

Status mixed_windows(const JsonField& text, std::string_view key) {
  const Status status = text.find(key)->error("the same kind of attention in every layer");
  return unsupported(status.message() + "; models that mix full and sliding attention are not supported");
}

// 0 when every layer sees everything, the window when every layer slides.
Result<int64_t> read_qwen2_window(const JsonField& text, int64_t num_layers) {
  ASSAY_ASSIGN(const bool used, text.bool_or("use_sliding_window", false));
  if (!used || !text.find("sliding_window")) return int64_t{0};
  ASSAY_ASSIGN(const int64_t window, text.get_int("sliding_window", 1, INT32_MAX));
  ASSAY_ASSIGN(const int64_t full_layers, text.int_or("max_window_layers", 28, 0, INT32_MAX));
  if (full_layers >= num_layers) return int64_t{0};
  if (full_layers > 0) return mixed_windows(text, "use_sliding_window");
  return window;
}

Result<int64_t> read_mistral_window(const JsonField& text) {
  constexpr int64_t kWindowWhenUnsaid = 4096;  // MistralConfig's default; an explicit null means full attention
  const Json* member = text.json().find("sliding_window");
  if (member == nullptr) return kWindowWhenUnsaid;
  if (member->is_null()) return int64_t{0};
  return text.get_int("sliding_window", 1, INT32_MAX);
}

Result<int64_t> read_layer_types(const JsonField& text, int64_t window) {
  auto types = text.find("layer_types");
  if (!types) return window;
  ASSAY_ASSIGN(auto items, types->items());
  size_t sliding = 0;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(const std::string type, item.as_string());
    if (type == "sliding_attention")
      ++sliding;
    else if (type != "full_attention")
      return unsupported(item.error("full_attention or sliding_attention").message());
  }
  if (sliding == 0) return int64_t{0};
  if (sliding != items.size()) return mixed_windows(text, "layer_types");
  return window;
}

Status read_window(const JsonField& text, ModelConfig& config) {
  int64_t window = 0;
  if (config.model_type == "qwen2") {
    ASSAY_ASSIGN(window, read_qwen2_window(text, config.num_layers));
    ASSAY_ASSIGN(window, read_layer_types(text, window));
  } else if (config.model_type == "mistral") {
    ASSAY_ASSIGN(window, read_mistral_window(text));
  }
  // A window as wide as the context never hides anything.
  config.sliding_window = window < config.max_position_embeddings ? window : 0;
  return ok_status();
}

// Dtype and token ids
// ----------------------------------------------------------------------------------------------------

Result<std::string> read_dtype(const JsonField& root, const JsonField& text) {
  for (const JsonField& holder : {root, text}) {
    for (const char* key : {"torch_dtype", "dtype"}) {
      auto member = holder.find(key);
      if (!member) continue;
      ASSAY_ASSIGN(std::string dtype, member->as_string());
      if (dtype == "bfloat16" || dtype == "float16" || dtype == "float32") return dtype;
      return unsupported(member->error("bfloat16, float16 or float32").message());
    }
  }
  return std::string();
}

// The member in the first of the objects that has one: generation_config.json speaks before config.json.
std::optional<JsonField> first_member(const std::vector<JsonField>& holders, std::string_view key) {
  for (const JsonField& holder : holders) {
    if (auto member = holder.find(key)) return member;
  }
  return std::nullopt;
}

Status read_token_ids(const std::vector<JsonField>& holders, ModelConfig& config) {
  const int64_t last = config.vocab_size - 1;
  if (auto bos = first_member(holders, "bos_token_id")) {
    ASSAY_ASSIGN(const int64_t id, bos->as_int(0, last));
    config.bos_token_id = static_cast<TokenId>(id);
  }
  auto eos = first_member(holders, "eos_token_id");
  if (!eos) return ok_status();
  std::vector<JsonField> ids = {*eos};
  if (eos->json().is_array()) {
    ASSAY_ASSIGN(ids, eos->items());
  }
  if (ids.size() > kMaxEosIds) return eos->error(fmt::format("at most {} ids", kMaxEosIds));
  for (const JsonField& item : ids) {
    ASSAY_ASSIGN(const int64_t id, item.as_int(0, last));
    const auto token = static_cast<TokenId>(id);
    const bool known =
        std::find(config.eos_token_ids.begin(), config.eos_token_ids.end(), token) != config.eos_token_ids.end();
    if (!known) config.eos_token_ids.push_back(token);
  }
  return ok_status();
}

Result<JsonField> find_text_config(const JsonField& root, const Family& family) {
  if (std::string_view(family.architecture) != "Mistral3ForConditionalGeneration") return root;
  ASSAY_ASSIGN(JsonField text, root.get("text_config"));
  ASSAY_ASSIGN(const std::string type, text.string_or("model_type", family.text_model_type));
  if (type == family.text_model_type) return text;
  return unsupported(text.find("model_type")->error(fmt::format("\"{}\"", family.text_model_type)).message());
}

}  // namespace

Result<ModelConfig> read_model_config(const Json& config_json, const Json* generation_config, std::string_view source) {
  const JsonField root(config_json, source);
  if (!config_json.is_object()) return root.error("an object");
  ASSAY_ASSIGN(const Family family, read_family(root, source));
  ASSAY_ASSIGN(const JsonField text, find_text_config(root, family));

  ModelConfig config;
  config.architecture = family.architecture;
  config.model_type = family.text_model_type;
  ASSAY_TRY(read_sizes(text, config));
  ASSAY_TRY(read_activation(text));
  ASSAY_TRY(read_biases(text, config));
  ASSAY_ASSIGN(config.rope, read_rope(text, config.max_position_embeddings));
  // Beyond the original context the frequencies of "dynamic" change with the length of each sequence, so that cached
  // keys would depend on their neighbors; up to there it is plain.
  if (config.rope.kind == RopeConfig::Kind::dynamic) {
    config.max_position_embeddings = std::min(config.max_position_embeddings, config.rope.original_max_position);
  }
  ASSAY_TRY(read_window(text, config));
  ASSAY_ASSIGN(config.tie_word_embeddings, root.bool_or("tie_word_embeddings", false));
  ASSAY_ASSIGN(config.torch_dtype, read_dtype(root, text));

  std::vector<JsonField> holders;
  if (generation_config != nullptr) holders.emplace_back(*generation_config, "generation_config.json");
  holders.push_back(root);
  holders.push_back(text);
  ASSAY_TRY(read_token_ids(holders, config));
  return config;
}

}  // namespace assay
