#include "engine/model/import_gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/gguf_dequant.h"
#include "engine/formats/safetensors.h"
#include "engine/model/output_folder.h"
#include "engine/model/tensor_table.h"

namespace assay {
namespace {

constexpr int64_t kMaxShardBytes = int64_t{1} << 32;
constexpr const char* kRopeDivisors = "rope_freqs.weight";

struct NamePair {
  std::string_view gguf;
  std::string_view hf;
};
constexpr std::array<NamePair, 3> kModelNames = {{
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
}};
constexpr std::array<NamePair, 9> kLayerNames = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

// Metadata -----------------------------------------------------------------------------------------------------------

// The shortest decimal of the float32 that the file holds: 1e-05, not 9.999999747378752e-06.
double shortest(double value) { return parse_double(fmt::format("{}", static_cast<float>(value))).value_or(value); }

// Reads keys under the architecture's prefix.
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufFile& gguf, std::string architecture)
      : gguf_(gguf), prefix_(std::move(architecture) + ".") {}

  bool has(std::string_view key) const { return gguf_.has(prefix_ + std::string(key)); }
  Result<int64_t> integer(std::string_view key) const { return gguf_.get_int(prefix_ + std::string(key)); }
  Result<int64_t> integer_or(std::string_view key, int64_t other) const {
    return has(key) ? integer(key) : Result<int64_t>(other);
  }
  Result<double> real(std::string_view key) const {
    ASSAY_ASSIGN(const double value, gguf_.get_real(prefix_ + std::string(key)));
    return shortest(value);
  }
  Result<double> real_or(std::string_view key, double other) const {
    return has(key) ? real(key) : Result<double>(other);
  }
  Result<std::string> text_or(std::string_view key, std::string_view other) const {
    return has(key) ? gguf_.get_string(prefix_ + std::string(key)) : Result<std::string>(std::string(other));
  }
  Status error(std::string_view key, std::string_view what) const {
    return unsupported(fmt::format("{}: {}{}: {}", gguf_.path().string(), prefix_, key, what));
  }

 private:
  const GgufFile& gguf_;
  std::string prefix_;
};

Result<std::string> read_architecture(const GgufFile& gguf) {
  ASSAY_ASSIGN(std::string architecture, gguf.get_string("general.architecture"));
  if (architecture == "llama" || architecture == "qwen2") return architecture;
  return unsupported(fmt::format("{}: general.architecture: found \"{}\", supported are llama, qwen2",
                                 gguf.path().string(), architecture));
}

struct HeadNumbers {
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
};

Result<HeadNumbers> read_heads(const ArchitectureKeys& keys) {
  HeadNumbers heads;
  ASSAY_ASSIGN(heads.num_heads, keys.integer("attention.head_count"));
  ASSAY_ASSIGN(heads.num_kv_heads, keys.integer_or("attention.head_count_kv", heads.num_heads));
  ASSAY_ASSIGN(const int64_t hidden, keys.integer("embedding_length"));
  if (heads.num_heads < 1 || heads.num_kv_heads < 1 || hidden < 1) {
    return keys.error("attention.head_count", "head counts and embedding_length must be positive");
  }
  ASSAY_ASSIGN(heads.head_dim, keys.integer_or("attention.key_length", hidden / heads.num_heads));
  ASSAY_ASSIGN(const int64_t value_dim, keys.integer_or("attention.value_length", heads.head_dim));
  if (value_dim != heads.head_dim) {
    return keys.error("attention.value_length",
                      fmt::format("found {}, supported is {}, the key length", value_dim, heads.head_dim));
  }
  ASSAY_ASSIGN(const int64_t rotated, keys.integer_or("rope.dimension_count", heads.head_dim));
  if (rotated == heads.head_dim) return heads;
  return keys.error("rope.dimension_count",
                    fmt::format("found {}, supported is {}, the whole head", rotated, heads.head_dim));
}

// Llama 3's stretching lies in the file only as divisors of the frequencies. Its published rule has one unknown, the
// factor, which is the divisor of the longest wave; the others must then agree.
Result<Json> llama3_scaling(const GgufFile& gguf, const GgufTensor& tensor, double theta, int64_t head_dim) {
  constexpr double kContext = 8192, kLow = 1, kHigh = 4;
  const int64_t count = head_dim / 2;
  const auto refuse = [&](std::string_view what) {
    return unsupported(fmt::format("{}: tensor {}: {}", gguf.path().string(), kRopeDivisors, what));
  };
  if (tensor.type != GgmlType::f32 || tensor.shape != std::vector<int64_t>{count}) {
    return refuse(fmt::format("expected {} float32 values", count));
  }
  std::vector<float> divisors(static_cast<size_t>(count));
  gguf_dequantize(GgmlType::f32, tensor.bytes, count, divisors.data());
  const double factor = std::round(divisors.back() * 1e4) / 1e4;
  for (int64_t j = 0; j < count; ++j) {
    const double wavelength =
        2 * std::numbers::pi * std::pow(theta, 2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
    const double smooth = std::clamp((kContext / wavelength - kLow) / (kHigh - kLow), 0.0, 1.0);
    const double expected = 1 / ((1 - smooth) / factor + smooth);
    if (!(std::abs(divisors[static_cast<size_t>(j)] - expected) <= 1e-3 * expected)) {
      return refuse(fmt::format("divisor {} is {:g}, Llama 3's rule with factor {:g} gives {:g}", j,
                                divisors[static_cast<size_t>(j)], factor, expected));
    }
  }
  Json scaling = Json::object();
  scaling.set("rope_type", "llama3").set("factor", factor).set("low_freq_factor", kLow).set("high_freq_factor", kHigh);
  return scaling.set("original_max_position_embeddings", static_cast<int64_t>(kContext));
}

Result<Json> yarn_scaling(const ArchitectureKeys& keys, double factor) {
  Json scaling = Json::object().set("rope_type", "yarn").set("factor", factor);
  if (keys.has("rope.scaling.original_context_length")) {
    ASSAY_ASSIGN(const int64_t original, keys.integer("rope.scaling.original_context_length"));
    scaling.set("original_max_position_embeddings", original);
  }
  if (keys.has("rope.scaling.attn_factor")) {
    ASSAY_ASSIGN(const double attention, keys.real("rope.scaling.attn_factor"));
    scaling.set("attention_factor", attention * (factor > 1 ? 1 + 0.1 * std::log(factor) : 1));
  }
  for (const auto& [key, name] :
       {NamePair{"rope.scaling.yarn_beta_fast", "beta_fast"}, NamePair{"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    if (!keys.has(key)) continue;
    ASSAY_ASSIGN(const double beta, keys.real(key));
    scaling.set(name, beta);
  }
  return scaling;
}

// rope_scaling of config.json; null when rotary embeddings are plain.
Result<Json> rope_scaling(const GgufFile& gguf, const ArchitectureKeys& keys, double theta, int64_t head_dim) {
  if (const GgufTensor* divisors = gguf.find(kRopeDivisors)) return llama3_scaling(gguf, *divisors, theta, head_dim);
  ASSAY_ASSIGN(const double old_linear, keys.real_or("rope.scale_linear", 1));
  ASSAY_ASSIGN(const std::string type, keys.text_or("rope.scaling.type", old_linear == 1 ? "none" : "linear"));
  ASSAY_ASSIGN(const double factor, keys.real_or("rope.scaling.factor", old_linear));
  if (type == "none") return Json();
  if (type == "linear") return factor == 1 ? Json() : Json::object().set("rope_type", "linear").set("factor", factor);
  if (type == "yarn") return yarn_scaling(keys, factor);
  return keys.error("rope.scaling.type", fmt::format("found \"{}\", supported are none, linear, yarn", type));
}

// Llama's config has one switch for the biases of q, k, v and o together; files of other classes lack some of them.
Status set_llama_biases(const GgufFile& gguf, Json& config) {
  const auto present = [&](std::string_view leaf) { return gguf.find(fmt::format("blk.0.{}.bias", leaf)) != nullptr; };
  const int attention = present("attn_q") + present("attn_k") + present("attn_v") + present("attn_output");
  const int mlp = present("ffn_gate") + present("ffn_up") + present("ffn_down");
  config.set("attention_bias", attention == 4).set("mlp_bias", mlp == 3);
  if ((attention == 0 || attention == 4) && (mlp == 0 || mlp == 3)) return ok_status();
  return unsupported(
      fmt::format("{}: biases on some of the linears of layer 0; LlamaForCausalLM has them on all of "
                  "attention or of the MLP, or on none",
                  gguf.path().string()));
}

Result<const GgufTensor*> find_embedding(const GgufFile& gguf) {
  const GgufTensor* embedding = gguf.find("token_embd.weight");
  if (embedding != nullptr && embedding->shape.size() == 2) return embedding;
  return bad_data(fmt::format("{}: tensor token_embd.weight: expected a matrix, found {}", gguf.path().string(),
                              embedding == nullptr ? "none" : shape_text(embedding->shape)));
}

Status set_sizes(const GgufFile& gguf, const ArchitectureKeys& keys, Json& config) {
  ASSAY_ASSIGN(const GgufTensor* embedding, find_embedding(gguf));
  for (const auto& [key, name] :
       {NamePair{"embedding_length", "hidden_size"}, NamePair{"feed_forward_length", "intermediate_size"},
        NamePair{"block_count", "num_hidden_layers"}, NamePair{"context_length", "max_position_embeddings"}}) {
    ASSAY_ASSIGN(const int64_t value, keys.integer(key));
    config.set(name, value);
  }
  ASSAY_ASSIGN(const HeadNumbers heads, read_heads(keys));
  config.set("num_attention_heads", heads.num_heads).set("num_key_value_heads", heads.num_kv_heads);
  config.set("head_dim", heads.head_dim).set("vocab_size", embedding->shape[0]);
  ASSAY_ASSIGN(const double epsilon, keys.real("attention.layer_norm_rms_epsilon"));
  ASSAY_ASSIGN(const double theta, keys.real_or("rope.freq_base", 10000));
  ASSAY_ASSIGN(Json scaling, rope_scaling(gguf, keys, theta, heads.head_dim));
  config.set("rms_norm_eps", epsilon).set("rope_theta", theta).set("rope_scaling", std::move(scaling));
  return ok_status();
}

// A llama file with a window came from MistralForCausalLM, whose arithmetic is otherwise the same.
Status set_class(const GgufFile& gguf, const ArchitectureKeys& keys, const std::string& architecture, Json& config) {
  if (architecture == "qwen2") {
    config.set("architectures", Json::array().push_back("Qwen2ForCausalLM")).set("model_type", "qwen2");
    config.set("use_sliding_window", false).set("sliding_window", nullptr);
    return ok_status();
  }
  ASSAY_ASSIGN(const int64_t experts, keys.integer_or("expert_count", 0));
  if (experts > 0)
    return keys.error("expert_count", fmt::format("found {}, mixtures of experts are not supported", experts));
  ASSAY_ASSIGN(const int64_t window, keys.integer_or("attention.sliding_window", 0));
  if (window > 0) {
    config.set("architectures", Json::array().push_back("MistralForCausalLM")).set("model_type", "mistral");
    config.set("sliding_window", window);
    return ok_status();
  }
  config.set("architectures", Json::array().push_back("LlamaForCausalLM")).set("model_type", "llama");
  return set_llama_biases(gguf, config);
}

Status set_special_ids(const GgufFile& gguf, Json& config) {
  for (const auto& [key, name] : {NamePair{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                  NamePair{"tokenizer.ggml.eos_token_id", "eos_token_id"},
                                  NamePair{"tokenizer.ggml.padding_token_id", "pad_token_id"}}) {
    if (!gguf.has(key)) continue;
    ASSAY_ASSIGN(const int64_t id, gguf.get_int(key));
    config.set(name, id);
  }
  return ok_status();
}

// Tensors
// --------------------------------------------------------------------------------------------------------------

// One tensor to write: its rows, and the heads whose rows go back to half-split order (0: rows stay).
struct TensorPlan {
  const GgufTensor* source = nullptr;
  std::string name;
  Shape shape;
  int64_t rows = 1, cols = 1;
  int64_t permuted_heads = 0;

  int64_t bytes() const { return rows * cols * static_cast<int64_t>(sizeof(uint16_t)); }
};

int64_t heads_to_permute(std::string_view hf_name, const ModelConfig& config) {
  if (hf_name.find(".self_attn.q_proj.") != std::string_view::npos) return config.num_heads;
  if (hf_name.find(".self_attn.k_proj.") != std::string_view::npos) return config.num_kv_heads;
  return 0;
}

Result<TensorPlan> plan_tensor(const GgufFile& gguf, const GgufTensor& tensor, bool interleaved,
                               const ModelConfig& config) {
  TensorPlan plan;
  plan.source = &tensor;
  plan.name = gguf_to_hf_name(tensor.name);
  plan.shape = tensor.shape;
  const std::string where = fmt::format("{}: tensor {}", gguf.path().string(), tensor.name);
  if (plan.name.empty()) return unsupported(where + ": not a tensor of the supported architectures");
  if (plan.shape.empty() || plan.shape.size() > 2) {
    return bad_data(fmt::format("{}: found shape {}, expected a vector or a matrix", where, shape_text(plan.shape)));
  }
  // A vector is a row for decoding, but a column of heads for the permutation of a bias.
  plan.permuted_heads = interleaved ? heads_to_permute(plan.name, config) : 0;
  const bool as_rows = plan.shape.size() == 2 || plan.permuted_heads > 0;
  plan.rows = as_rows ? plan.shape[0] : 1;
  plan.cols = plan.shape.size() == 2 ? plan.shape[1] : as_rows ? 1 : plan.shape[0];
  const GgmlBlock block = ggml_block(tensor.type);
  if (plan.rows < 1 || plan.cols < 1 || plan.cols % block.values != 0) {
    return bad_data(fmt::format("{}: shape {} does not hold whole blocks of {}", where, shape_text(plan.shape),
                                ggml_type_name(static_cast<uint32_t>(tensor.type))));
  }
  if (plan.permuted_heads > 0 && plan.rows != plan.permuted_heads * config.head_dim) {
    return bad_data(fmt::format("{}: found {} rows, expected {} heads of {}", where, plan.rows, plan.permuted_heads,
                                config.head_dim));
  }
  return plan;
}

Result<std::vector<TensorPlan>> plan_tensors(const GgufFile& gguf, bool interleaved, const ModelConfig& config) {
  std::vector<TensorPlan> plans;
  for (const GgufTensor& tensor : gguf.tensors()) {
    if (tensor.name == kRopeDivisors) continue;  // already in config.json
    ASSAY_ASSIGN(TensorPlan plan, plan_tensor(gguf, tensor, interleaved, config));
    plans.push_back(std::move(plan));
  }
  return plans;
}

// The row of the file that becomes row `row`: within a head, file row 2j + a holds row a * head_dim / 2 + j.
int64_t source_row(const TensorPlan& plan, int64_t row) {
  if (plan.permuted_heads == 0) return row;
  const int64_t head_dim = plan.rows / plan.permuted_heads;
  const int64_t head = row / head_dim, within = row % head_dim;
  return head * head_dim + 2 * (within % (head_dim / 2)) + within / (head_dim / 2);
}

std::vector<uint16_t> to_bf16(const TensorPlan& plan) {
  constexpr int64_t kValuesAJob = 1 << 16;
  const GgmlBlock block = ggml_block(plan.source->type);
  const auto row_bytes = static_cast<size_t>(plan.cols / block.values * block.bytes);
  const int64_t rows_a_job = std::max<int64_t>(1, kValuesAJob / plan.cols);
  const auto num_jobs = static_cast<size_t>((plan.rows + rows_a_job - 1) / rows_a_job);
  std::vector<uint16_t> out(static_cast<size_t>(plan.rows * plan.cols));
  parallel_for(num_jobs, [&](size_t job) {
    std::vector<float> values(static_cast<size_t>(plan.cols));
    const int64_t begin = static_cast<int64_t>(job) * rows_a_job, end = std::min(plan.rows, begin + rows_a_job);
    for (int64_t row = begin; row < end; ++row) {
      const size_t offset = static_cast<size_t>(source_row(plan, row)) * row_bytes;
      gguf_dequantize(plan.source->type, plan.source->bytes.subspan(offset, row_bytes), plan.cols, values.data());
      std::transform(values.begin(), values.end(), out.begin() + row * plan.cols, float_to_bf16);
    }
  });
  return out;
}

// Files
// ----------------------------------------------------------------------------------------------------------------

Status write_json(const Path& path, const Json& json, int indent) {
  return real_files().write_atomic(path, json.dump({.indent = indent}) + "\n");
}

// Consecutive runs of tensors of at most kMaxShardBytes each, or of one larger tensor.
std::vector<std::span<const TensorPlan>> split_into_shards(const std::vector<TensorPlan>& plans) {
  std::vector<std::span<const TensorPlan>> shards;
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    if (i > begin && bytes + plans[i].bytes() > kMaxShardBytes) {
      shards.emplace_back(plans.data() + begin, i - begin);
      begin = i;
      bytes = 0;
    }
    bytes += plans[i].bytes();
  }
  shards.emplace_back(plans.data() + begin, plans.size() - begin);
  return shards;
}

Status write_shard(const Path& path, std::span<const TensorPlan> plans) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const TensorPlan& plan : plans) entries.push_back({plan.name, DType::bf16, plan.shape});
  ASSAY_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(entries)));
  for (const TensorPlan& plan : plans) {
    const std::vector<uint16_t> values = to_bf16(plan);
    ASSAY_TRY(writer.write(std::as_bytes(std::span(values))));
  }
  return writer.finish();
}

Status write_weights(const Path& folder, const std::vector<TensorPlan>& plans) {
  const auto shards = split_into_shards(plans);
  if (shards.size() == 1) return write_shard(folder / "model.safetensors", shards[0]);
  Json::Object weight_map;
  int64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    ASSAY_TRY(write_shard(folder / name, shards[i]));
    for (const TensorPlan& plan : shards[i]) {
      weight_map.emplace_back(plan.name, name);
      total_bytes += plan.bytes();
    }
  }
  Json index = Json::object().set("metadata", Json::object().set("total_size", total_bytes));
  return write_json(folder / "model.safetensors.index.json", index.set("weight_map", Json(std::move(weight_map))), 2);
}

Status write_vocabulary(const Path& folder, const GgufFile& gguf) {
  ASSAY_ASSIGN(const Json tokenizer, gguf_to_tokenizer_json(gguf));
  ASSAY_ASSIGN(const Json tokenizer_config, gguf_to_tokenizer_config_json(gguf));
  ASSAY_TRY(write_json(folder / "tokenizer.json", tokenizer, -1));
  return write_json(folder / "tokenizer_config.json", tokenizer_config, 2);
}

// What was written must be a model: every tensor there, in the shapes that config.json promises.
Status read_back(const Path& folder) {
  ASSAY_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(folder));
  const auto& generation = checkpoint.generation_config();
  ASSAY_ASSIGN(const ModelConfig config,
               read_model_config(checkpoint.config(), generation ? &*generation : nullptr, "config.json"));
  return build_tensor_table(checkpoint, config).status();
}

GgufImportReport report_of(const std::string& architecture, const std::vector<TensorPlan>& plans) {
  GgufImportReport report;
  report.architecture = architecture;
  for (const TensorPlan& plan : plans) {
    ++report.num_tensors;
    report.num_parameters += plan.rows * plan.cols;
    report.bytes_written += plan.bytes();
  }
  return report;
}

}  // namespace

std::string gguf_to_hf_name(std::string_view gguf_name) {
  for (const NamePair& pair : kModelNames) {
    if (gguf_name == pair.gguf) return std::string(pair.hf);
  }
  const std::vector<std::string> parts = split(gguf_name, ".");
  if (parts.size() != 4 || parts[0] != "blk" || (parts[3] != "weight" && parts[3] != "bias")) return {};
  const std::optional<int64_t> layer = parse_int(parts[1]);
  if (!layer || *layer < 0 || std::to_string(*layer) != parts[1]) return {};
  for (const NamePair& pair : kLayerNames) {
    if (parts[2] == pair.gguf) return fmt::format("model.layers.{}.{}.{}", *layer, pair.hf, parts[3]);
  }
  return {};
}

Result<Json> gguf_to_config_json(const GgufFile& gguf) {
  ASSAY_ASSIGN(const std::string architecture, read_architecture(gguf));
  const ArchitectureKeys keys(gguf, architecture);
  Json config = Json::object();
  ASSAY_TRY(set_class(gguf, keys, architecture, config));
  config.set("hidden_act", "silu");
  ASSAY_TRY(set_sizes(gguf, keys, config));
  ASSAY_TRY(set_special_ids(gguf, config));
  return config.set("tie_word_embeddings", gguf.find("output.weight") == nullptr).set("torch_dtype", "bfloat16");
}

Result<Json> gguf_to_generation_config_json(const GgufFile& gguf) {
  Json config = Json::object();
  ASSAY_TRY(set_special_ids(gguf, config));
  ASSAY_ASSIGN(const std::vector<int64_t> ends, gguf_end_ids(gguf));
  if (ends.size() == 1) return config.set("eos_token_id", ends[0]);
  if (ends.empty()) return config;
  Json list = Json::array();
  for (const int64_t id : ends) list.push_back(id);
  return config.set("eos_token_id", std::move(list));
}

Result<GgufImportReport> import_gguf(const GgufFile& gguf, const Path& out) {
  ASSAY_ASSIGN(const std::string architecture, read_architecture(gguf));
  ASSAY_ASSIGN(const Json config_json, gguf_to_config_json(gguf));
  ASSAY_ASSIGN(const Json generation_json, gguf_to_generation_config_json(gguf));
  ASSAY_ASSIGN(const ModelConfig config, read_model_config(config_json, &generation_json, gguf.path().string()));
  ASSAY_ASSIGN(const std::vector<TensorPlan> plans, plan_tensors(gguf, architecture == "llama", config));
  const GgufImportReport report = report_of(architecture, plans);

  ASSAY_ASSIGN(OutputFolder folder, OutputFolder::create(out, report.bytes_written));
  ASSAY_TRY(write_vocabulary(folder.path(), gguf));
  ASSAY_TRY(write_json(folder.path() / "config.json", config_json, 2));
  ASSAY_TRY(write_json(folder.path() / "generation_config.json", generation_json, 2));
  ASSAY_TRY(write_weights(folder.path(), plans));
  ASSAY_TRY(read_back(folder.path()).with_context(gguf.path().string()));
  ASSAY_TRY(folder.commit());
  return report;
}

}  // namespace assay
