#include "engine/model/tensor_table.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <set>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

// Prefixes of multimodal layouts and what Assay calls them; the first that fits is used (model.md 1.3).
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kWrappers = {{
    {"model.language_model.", "model."},
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {"language_model.", "model."},
    {"model.vision_tower.", "vision_tower."},
    {"model.multi_modal_projector.", "multi_modal_projector."},
}};

constexpr std::string_view kDenseSuffix = ".weight";
constexpr std::string_view kPackedSuffix = ".weight_packed";

bool is_float(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f32; }

// Every tensor of a checkpoint by its canonical name, and which of them were asked for.
class Catalog {
 public:
  static Result<Catalog> make(const Checkpoint& checkpoint) {
    Catalog catalog;
    catalog.source_ = checkpoint.folder().string();
    for (const TensorView* tensor : checkpoint.tensors()) {
      const auto [it, fresh] = catalog.by_name_.emplace(canonical_tensor_name(tensor->name), tensor);
      if (fresh) continue;
      return bad_data(
          fmt::format("{}: tensors {} and {} are two layouts of the same {}; the folder mixes two checkpoints",
                      catalog.source_, it->second->name, tensor->name, it->first));
    }
    return catalog;
  }

  bool has(const std::string& name) const { return by_name_.contains(name); }

  const TensorView* take(const std::string& name) {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) return nullptr;
    used_.insert(it->first);
    return it->second;
  }

  // A float tensor of exactly this shape.
  Result<TensorView> take_float(const std::string& name, const Shape& shape) {
    const TensorView* tensor = take(name);
    if (tensor == nullptr) {
      return bad_data(fmt::format("{}: tensor {} {} is missing, though config.json calls for it", source_, name,
                                  shape_text(shape)));
    }
    if (tensor->shape != shape) {
      return bad_data(fmt::format("{}: tensor {}: found shape {}, config.json calls for {}", source_, tensor->name,
                                  shape_text(tensor->shape), shape_text(shape)));
    }
    if (!is_float(tensor->dtype)) {
      return unsupported(fmt::format("{}: tensor {}: found dtype {}, supported are BF16, F16, F32", source_,
                                     tensor->name, dtype_name(tensor->dtype)));
    }
    return *tensor;
  }

  // All that nobody asked for, apart from the eyes and from buffers that old exporters saved.
  std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : by_name_) {
      const bool expected = used_.contains(name) || starts_with(name, "vision_tower.") ||
                            starts_with(name, "multi_modal_projector.") || ends_with(name, ".rotary_emb.inv_freq");
      if (!expected) names.push_back(tensor->name);
    }
    return names;
  }

  const std::string& source() const { return source_; }

 private:
  std::string source_;
  std::map<std::string, const TensorView*> by_name_;
  std::set<std::string> used_;
};

class TableBuilder {
 public:
  TableBuilder(const Checkpoint& checkpoint, const ModelConfig& config, Catalog catalog,
               std::optional<QuantizationConfig> quantization)
      : checkpoint_(checkpoint),
        config_(config),
        catalog_(std::move(catalog)),
        quantization_(std::move(quantization)) {}

  Result<ModelWeights> build() {
    ASSAY_ASSIGN(weights_.embed_tokens,
                 catalog_.take_float("model.embed_tokens.weight", {config_.vocab_size, config_.hidden_size}));
    for (int64_t i = 0; i < config_.num_layers; ++i) {
      ASSAY_ASSIGN(LayerWeights layer, take_layer("model.layers." + std::to_string(i) + "."));
      weights_.layers.push_back(std::move(layer));
    }
    ASSAY_ASSIGN(weights_.final_norm, catalog_.take_float("model.norm.weight", {config_.hidden_size}));
    ASSAY_TRY(take_head());
    count_parameters();
    weights_.quantization = describe_quantization();
    warn_about_unused();
    return std::move(weights_);
  }

 private:
  Result<LayerWeights> take_layer(const std::string& prefix) {
    const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    const int64_t q_width = config_.q_width(), kv_width = config_.kv_width();
    LayerWeights layer;
    ASSAY_ASSIGN(layer.input_norm, catalog_.take_float(prefix + "input_layernorm.weight", {hidden}));
    ASSAY_ASSIGN(layer.q_proj, take_linear(prefix + "self_attn.q_proj", q_width, hidden, config_.attention_bias));
    ASSAY_ASSIGN(layer.k_proj, take_linear(prefix + "self_attn.k_proj", kv_width, hidden, config_.attention_bias));
    ASSAY_ASSIGN(layer.v_proj, take_linear(prefix + "self_attn.v_proj", kv_width, hidden, config_.attention_bias));
    ASSAY_ASSIGN(layer.o_proj, take_linear(prefix + "self_attn.o_proj", hidden, q_width, config_.attention_out_bias));
    ASSAY_ASSIGN(layer.post_attention_norm, catalog_.take_float(prefix + "post_attention_layernorm.weight", {hidden}));
    ASSAY_ASSIGN(layer.gate_proj, take_linear(prefix + "mlp.gate_proj", inner, hidden, config_.mlp_bias));
    ASSAY_ASSIGN(layer.up_proj, take_linear(prefix + "mlp.up_proj", inner, hidden, config_.mlp_bias));
    ASSAY_ASSIGN(layer.down_proj, take_linear(prefix + "mlp.down_proj", hidden, inner, config_.mlp_bias));
    return layer;
  }

  Result<LinearWeight> take_linear(const std::string& name, int64_t out, int64_t in, bool with_bias) {
    LinearWeight linear;
    linear.name = name;
    linear.out_features = out;
    linear.in_features = in;
    if (catalog_.has(name + std::string(kPackedSuffix))) {
      ASSAY_ASSIGN(linear.weight, take_packed(name, out, in));
    } else {
      ASSAY_ASSIGN(linear.weight, catalog_.take_float(name + std::string(kDenseSuffix), {out, in}));
    }
    if (with_bias) {
      ASSAY_ASSIGN(linear.bias, catalog_.take_float(name + ".bias", {out}));
    }
    return linear;
  }

  Result<PackedLinear> take_packed(const std::string& name, int64_t out, int64_t in) {
    const TensorView* packed = catalog_.take(name + std::string(kPackedSuffix));
    for (const char* companion : {".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx"}) {
      catalog_.take(name + companion);
    }
    const std::string prefix = packed->name.substr(0, packed->name.size() - kPackedSuffix.size());
    ASSAY_ASSIGN(auto linear, find_packed_linear(checkpoint_, prefix, quantization_));
    if (!linear) return internal_error(fmt::format("{}: {} was listed but not found", catalog_.source(), packed->name));
    if (linear->out_features != out || linear->in_features != in) {
      return bad_data(fmt::format("{}: tensor {}: holds a weight of shape {}, config.json calls for {}",
                                  catalog_.source(), packed->name,
                                  shape_text({linear->out_features, linear->in_features}), shape_text({out, in})));
    }
    return std::move(*linear);
  }

  // A head in the file is used even if the config says that embeddings are tied: newer writers say so of untied models.
  Status take_head() {
    if (catalog_.has("lm_head.weight") || catalog_.has("lm_head.weight_packed")) {
      ASSAY_ASSIGN(weights_.lm_head, take_linear("lm_head", config_.vocab_size, config_.hidden_size, false));
      return ok_status();
    }
    weights_.tied = true;
    weights_.lm_head.name = "lm_head";
    weights_.lm_head.out_features = config_.vocab_size;
    weights_.lm_head.in_features = config_.hidden_size;
    weights_.lm_head.weight = weights_.embed_tokens;
    return ok_status();
  }

  void count_parameters() {
    const int64_t table = config_.vocab_size * config_.hidden_size;
    weights_.num_parameters = table + config_.hidden_size + (weights_.tied ? 0 : table);
    for (const LayerWeights& layer : weights_.layers) {
      weights_.num_parameters += 2 * config_.hidden_size;
      for (const NamedLinear& named : linears_of(layer)) {
        weights_.num_parameters += named.linear->out_features * named.linear->in_features;
        if (named.linear->bias) weights_.num_parameters += named.linear->out_features;
      }
    }
  }

  // One scheme for all layers by its own text; else every scheme with the number of linears it holds.
  std::string describe_quantization() const {
    std::map<std::string, int64_t> counts;
    for (const LayerWeights& layer : weights_.layers) {
      for (const NamedLinear& named : linears_of(layer)) {
        const auto* packed = std::get_if<PackedLinear>(&named.linear->weight);
        ++counts[packed == nullptr ? "none" : packed->scheme.text()];
      }
    }
    if (counts.size() == 1) return counts.begin()->first;
    std::vector<std::string> parts;
    for (const auto& [scheme, count] : counts) parts.push_back(fmt::format("{} ({} linears)", scheme, count));
    return "mixed: " + join(parts, ", ");
  }

  void warn_about_unused() const {
    constexpr size_t kShown = 3;
    std::vector<std::string> names = catalog_.unused();
    if (names.empty()) return;
    const size_t total = names.size();
    if (total > kShown) names.resize(kShown);
    log_warning(fmt::format("{}: {} tensors are not part of {} and are left alone: {}{}", catalog_.source(), total,
                            config_.architecture, join(names, ", "), total > kShown ? ", ..." : ""));
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  Catalog catalog_;
  std::optional<QuantizationConfig> quantization_;
  ModelWeights weights_;
};

}  // namespace

std::string canonical_tensor_name(std::string_view name) {
  for (const auto& [wrapper, replacement] : kWrappers) {
    if (starts_with(name, wrapper)) return std::string(replacement) + std::string(name.substr(wrapper.size()));
  }
  return std::string(name);
}

Result<ModelWeights> build_tensor_table(const Checkpoint& checkpoint, const ModelConfig& config) {
  const std::string source = (checkpoint.folder() / "config.json").string();
  ASSAY_ASSIGN(auto quantization, read_quantization_config(checkpoint.config(), source));
  ASSAY_ASSIGN(Catalog catalog, Catalog::make(checkpoint));
  return TableBuilder(checkpoint, config, std::move(catalog), std::move(quantization)).build();
}

std::vector<NamedLinear> linears_of(const LayerWeights& layer) {
  std::vector<NamedLinear> linears;
  for (const LinearWeight* linear : {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj, &layer.gate_proj,
                                     &layer.up_proj, &layer.down_proj}) {
    linears.push_back({linear->name, linear});
  }
  return linears;
}

}  // namespace assay
