#include "tests/support/tiny_checkpoint.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/base/rng.h"
#include "engine/base/text_util.h"
#include "engine/formats/safetensors.h"

namespace assay::testing {
namespace {

// Each merge joins two tokens that exist when its turn comes, so the list grows a small vocabulary of English pieces.
constexpr std::array<std::pair<std::string_view, std::string_view>, 40> kMerges = {{
    {"Ġ", "t"},   {"h", "e"},   {"i", "n"},       {"Ġ", "a"},  {"r", "e"}, {"o", "n"},   {"Ġt", "he"},   {"e", "r"},
    {"a", "t"},   {"Ġ", "s"},   {"e", "n"},       {"o", "r"},  {"Ġ", "c"}, {"e", "s"},   {"Ġ", "w"},     {"n", "d"},
    {"i", "t"},   {"o", "u"},   {"Ġ", "Ġ"},       {"in", "g"}, {"Ġ", "o"}, {"Ġa", "nd"}, {"Ġo", "f"},    {"Ġt", "o"},
    {"i", "on"},  {"i", "s"},   {"Ċ", "Ċ"},       {"A", "n"},  {"s", "w"}, {"An", "sw"}, {"Answ", "er"}, {"Q", "u"},
    {"Qu", "es"}, {"t", "ion"}, {"Ques", "tion"}, {"Ġ", "A"},  {"Ġ", "B"}, {"Ġ", "C"},   {"Ġ", "D"},     {"Ġ", "in"},
}};

constexpr std::array<const char*, 4> kSpecialTokens = {"<s>", "</s>", "<|im_start|>", "<|im_end|>"};

constexpr const char* kChatTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' "
    "}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static_assert(kSpecialTokens.size() + 256 + kMerges.size() == TinyModel::kTinyVocab);

// The visible character that byte-level vocabularies write for a byte: itself where it is printable Latin-1, else the
// next of U+0100 onwards.
std::vector<std::string> byte_level_alphabet() {
  std::vector<std::string> alphabet(256);
  char32_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    append_utf8(alphabet[byte], visible ? static_cast<char32_t>(byte) : next++);
  }
  return alphabet;
}

Json added_token(int64_t id, const char* content) {
  return Json::object()
      .set("id", id)
      .set("content", content)
      .set("single_word", false)
      .set("lstrip", false)
      .set("rstrip", false)
      .set("normalized", false)
      .set("special", true);
}

Json byte_level(bool use_regex) {
  return Json::object()
      .set("type", "ByteLevel")
      .set("add_prefix_space", false)
      .set("trim_offsets", true)
      .set("use_regex", use_regex);
}

Json bos_post_processor() {
  auto piece = [](const char* kind, const char* id, int64_t type) {
    return Json::object().set(kind, Json::object().set("id", id).set("type_id", type));
  };
  Json single = Json::array();
  single.push_back(piece("SpecialToken", "<s>", 0)).push_back(piece("Sequence", "A", 0));
  Json pair = single;
  pair.push_back(piece("Sequence", "B", 1));
  Json bos = Json::object();
  bos.set("id", "<s>").set("ids", Json::array().push_back(kTinyBos)).set("tokens", Json::array().push_back("<s>"));
  return Json::object()
      .set("type", "TemplateProcessing")
      .set("single", std::move(single))
      .set("pair", std::move(pair))
      .set("special_tokens", Json::object().set("<s>", std::move(bos)));
}

Json tokenizer_json(const TinyModel& model) {
  Json vocab = Json::object();
  Json added = Json::array();
  int64_t id = 0;
  for (const char* special : kSpecialTokens) {
    added.push_back(added_token(id, special));
    vocab.set(special, id++);
  }
  for (const std::string& symbol : byte_level_alphabet()) vocab.set(symbol, id++);
  Json merges = Json::array();
  for (const auto& [left, right] : kMerges) {
    vocab.set(std::string(left) + std::string(right), id++);
    merges.push_back(std::string(left) + " " + std::string(right));
  }
  ASSAY_CHECK_EQ(vocab.size(), size_t{TinyModel::kTinyVocab});
  Json bpe = Json::object();
  bpe.set("type", "BPE").set("dropout", nullptr).set("unk_token", nullptr).set("continuing_subword_prefix", nullptr);
  bpe.set("end_of_word_suffix", nullptr).set("fuse_unk", false).set("byte_fallback", false).set("ignore_merges", false);
  bpe.set("vocab", std::move(vocab)).set("merges", std::move(merges));
  return Json::object()
      .set("version", "1.0")
      .set("truncation", nullptr)
      .set("padding", nullptr)
      .set("added_tokens", std::move(added))
      .set("normalizer", nullptr)
      .set("pre_tokenizer", byte_level(true))
      .set("post_processor", model.add_bos ? bos_post_processor() : Json())
      .set("decoder", byte_level(true))
      .set("model", std::move(bpe));
}

Json tokenizer_config_json(const TinyModel& model) {
  return Json::object()
      .set("tokenizer_class", "PreTrainedTokenizerFast")
      .set("bos_token", "<s>")
      .set("eos_token", "<|im_end|>")
      .set("pad_token", "</s>")
      .set("clean_up_tokenization_spaces", false)
      .set("model_max_length", model.max_positions)
      .set("chat_template", kChatTemplate);
}

bool is_qwen2(const TinyModel& model) { return model.architecture == "Qwen2ForCausalLM"; }
bool is_multimodal(const TinyModel& model) { return model.architecture == "Mistral3ForConditionalGeneration"; }

const char* torch_dtype(DType dtype) {
  ASSAY_CHECK(dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f32);
  return dtype == DType::bf16 ? "bfloat16" : dtype == DType::f16 ? "float16" : "float32";
}

Json text_config(const TinyModel& model, const char* model_type) {
  Json config = Json::object();
  config.set("model_type", model_type)
      .set("hidden_act", "silu")
      .set("hidden_size", model.hidden)
      .set("intermediate_size", model.intermediate)
      .set("num_hidden_layers", model.layers)
      .set("num_attention_heads", model.heads)
      .set("num_key_value_heads", model.kv_heads)
      .set("head_dim", model.head_dim)
      .set("vocab_size", model.vocab)
      .set("max_position_embeddings", model.max_positions)
      .set("rms_norm_eps", model.rms_norm_eps)
      .set("rope_theta", model.rope_theta)
      .set("sliding_window", model.sliding_window == 0 ? Json() : Json(model.sliding_window));
  if (is_qwen2(model)) config.set("use_sliding_window", model.sliding_window != 0);
  if (model.architecture == "LlamaForCausalLM") {
    config.set("attention_bias", model.attention_bias).set("mlp_bias", model.mlp_bias);
  }
  return config;
}

Json vision_config() {
  return Json::object()
      .set("model_type", "pixtral")
      .set("hidden_act", "silu")
      .set("hidden_size", 32)
      .set("intermediate_size", 64)
      .set("num_hidden_layers", 1)
      .set("num_attention_heads", 2)
      .set("head_dim", 16)
      .set("num_channels", 3)
      .set("patch_size", 14)
      .set("image_size", 168)
      .set("rope_theta", 10000.0);
}

Json config_json(const TinyModel& model) {
  Json config = Json::object();
  if (is_multimodal(model)) {
    config.set("model_type", "mistral3")
        .set("image_token_index", 3)
        .set("spatial_merge_size", 2)
        .set("text_config", text_config(model, "mistral"))
        .set("vision_config", vision_config());
  } else {
    const char* type = is_qwen2(model) ? "qwen2" : model.architecture == "MistralForCausalLM" ? "mistral" : "llama";
    config = text_config(model, type);
    config.set("tie_word_embeddings", model.tie);
  }
  return config.set("architectures", Json::array().push_back(model.architecture))
      .set("bos_token_id", kTinyBos)
      .set("eos_token_id", kTinyImEnd)
      .set("torch_dtype", torch_dtype(model.dtype));
}

Json generation_config_json() {
  return Json::object()
      .set("bos_token_id", kTinyBos)
      .set("eos_token_id", Json::array().push_back(kTinyImEnd).push_back(kTinyEos))
      .set("pad_token_id", kTinyEos);
}

// A tensor to write: values are mean + deviation * (bell-shaped noise of unit variance).
struct TensorPlan {
  std::string name;
  Shape shape;
  float mean = 0;
  float deviation = 0;
};

class PlanBuilder {
 public:
  explicit PlanBuilder(const TinyModel& model) : model_(model) {}

  std::vector<TensorPlan> build() {
    const std::string prefix = is_multimodal(model_) ? "language_model." : "";
    embedding(prefix + "model.embed_tokens.weight");
    for (int64_t i = 0; i < model_.layers; ++i) layer(prefix + "model.layers." + std::to_string(i) + ".");
    norm(prefix + "model.norm.weight");
    if (!model_.tie) embedding(prefix + "lm_head.weight");
    if (is_multimodal(model_)) vision();
    return std::move(plans_);
  }

 private:
  // Two over the root of the width: logits then spread by about 2, enough that tokens differ in likelihood.
  void embedding(const std::string& name) {
    plans_.push_back({name, {model_.vocab, model_.hidden}, 0, 2.0f / std::sqrt(static_cast<float>(model_.hidden))});
  }
  void norm(const std::string& name) { plans_.push_back({name, {model_.hidden}, 1.0f, 0.1f}); }
  void linear(const std::string& name, int64_t out, int64_t in, bool bias) {
    plans_.push_back({name + ".weight", {out, in}, 0, 1.0f / std::sqrt(static_cast<float>(in))});
    if (bias) plans_.push_back({name + ".bias", {out}, 0, 0.2f});
  }
  void layer(const std::string& prefix) {
    const int64_t q_width = model_.heads * model_.head_dim, kv_width = model_.kv_heads * model_.head_dim;
    const bool qkv_bias = is_qwen2(model_) || model_.attention_bias;
    norm(prefix + "input_layernorm.weight");
    linear(prefix + "self_attn.q_proj", q_width, model_.hidden, qkv_bias);
    linear(prefix + "self_attn.k_proj", kv_width, model_.hidden, qkv_bias);
    linear(prefix + "self_attn.v_proj", kv_width, model_.hidden, qkv_bias);
    linear(prefix + "self_attn.o_proj", model_.hidden, q_width, model_.attention_bias);
    norm(prefix + "post_attention_layernorm.weight");
    linear(prefix + "mlp.gate_proj", model_.intermediate, model_.hidden, model_.mlp_bias);
    linear(prefix + "mlp.up_proj", model_.intermediate, model_.hidden, model_.mlp_bias);
    linear(prefix + "mlp.down_proj", model_.hidden, model_.intermediate, model_.mlp_bias);
  }
  void vision() {
    plans_.push_back({"vision_tower.patch_conv.weight", {32, 3, 14, 14}, 0, 0.05f});
    linear("vision_tower.transformer.layers.0.attention.q_proj", 32, 32, false);
    linear("multi_modal_projector.linear_1", model_.hidden, 32, false);
    linear("multi_modal_projector.linear_2", model_.hidden, model_.hidden, false);
  }

  const TinyModel& model_;
  std::vector<TensorPlan> plans_;
};

// The sum of four 16-bit uniform draws, centered and scaled to unit variance: bell-shaped, and exact integer arithmetic
// up to the last step, so the same on every machine.
float bell_noise(uint64_t bits) {
  int64_t sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<int64_t>((bits >> (16 * i)) & 0xFFFF);
  return static_cast<float>(2 * sum - 4 * 65535) / 75674.0f;
}

std::vector<std::byte> tensor_bytes(const TensorPlan& plan, const TinyModel& model) {
  int64_t count = 1;
  for (int64_t extent : plan.shape) count *= extent;
  const uint64_t stream = hash64(plan.name);
  std::vector<std::byte> bytes(static_cast<size_t>(count) * dtype_bytes(model.dtype));
  for (int64_t i = 0; i < count; ++i) {
    const float noise = bell_noise(random_bits(model.seed, stream, static_cast<uint64_t>(i)));
    const uint16_t bf16 = float_to_bf16(plan.mean + plan.deviation * noise);
    const float value = bf16_to_float(bf16);
    const uint16_t f16 = float_to_f16(value);
    std::byte* out = bytes.data() + static_cast<size_t>(i) * dtype_bytes(model.dtype);
    if (model.dtype == DType::f32)
      std::memcpy(out, &value, sizeof value);
    else
      std::memcpy(out, model.dtype == DType::bf16 ? &bf16 : &f16, sizeof bf16);
  }
  return bytes;
}

Status write_shard(const Path& path, std::span<const TensorPlan> plans, const TinyModel& model) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const TensorPlan& plan : plans) entries.push_back({plan.name, model.dtype, plan.shape});
  ASSAY_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(entries)));
  for (const TensorPlan& plan : plans) ASSAY_TRY(writer.write(tensor_bytes(plan, model)));
  return writer.finish();
}

std::string shard_name(int64_t index, int64_t count) {
  auto padded = [](int64_t n) { return std::string(5 - std::to_string(n).size(), '0') + std::to_string(n); };
  return "model-" + padded(index + 1) + "-of-" + padded(count) + ".safetensors";
}

Status write_json(const Path& path, const Json& json) {
  return real_files().write_atomic(path, json.dump({.indent = 2}) + "\n");
}

Status write_weights(const Path& dir, const TinyModel& model) {
  const std::vector<TensorPlan> plans = PlanBuilder(model).build();
  if (model.shards == 1) return write_shard(dir / "model.safetensors", plans, model);
  Json weight_map = Json::object();
  int64_t total_bytes = 0;
  for (int64_t shard = 0; shard < model.shards; ++shard) {
    const auto begin = plans.size() * static_cast<size_t>(shard) / static_cast<size_t>(model.shards);
    const auto end = plans.size() * static_cast<size_t>(shard + 1) / static_cast<size_t>(model.shards);
    const std::span<const TensorPlan> part(plans.data() + begin, end - begin);
    ASSAY_TRY(write_shard(dir / shard_name(shard, model.shards), part, model));
    for (const TensorPlan& plan : part) {
      weight_map.set(plan.name, shard_name(shard, model.shards));
      total_bytes += static_cast<int64_t>(tensor_bytes(plan, model).size());
    }
  }
  Json index = Json::object();
  index.set("metadata", Json::object().set("total_size", total_bytes)).set("weight_map", std::move(weight_map));
  return write_json(dir / "model.safetensors.index.json", index);
}

}  // namespace

Result<Path> write_tiny_checkpoint(const Path& dir, const TinyModel& model) {
  ASSAY_CHECK_LE(TinyModel::kTinyVocab, model.vocab);
  ASSAY_TRY(real_files().create_directories(dir));
  ASSAY_TRY(write_json(dir / "config.json", config_json(model)));
  ASSAY_TRY(write_json(dir / "generation_config.json", generation_config_json()));
  ASSAY_TRY(write_json(dir / "tokenizer.json", tokenizer_json(model)));
  ASSAY_TRY(write_json(dir / "tokenizer_config.json", tokenizer_config_json(model)));
  ASSAY_TRY(write_weights(dir, model));
  return dir;
}

}  // namespace assay::testing
