#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/formats/checkpoint.h"
#include "engine/formats/compressed_tensors.h"
#include "engine/model/model_config.h"

namespace assay {

// A linear layer's weight as the checkpoint holds it: y = x W^T + bias, W [out_features, in_features].
struct LinearWeight {
  std::string name;  // canonical prefix: "model.layers.0.self_attn.q_proj"
  int64_t out_features = 0;
  int64_t in_features = 0;
  std::variant<TensorView, PackedLinear> weight;  // dense (bf16, f16, f32) or packed integers
  std::optional<TensorView> bias;                 // [out_features]

  bool is_quantized() const { return std::holds_alternative<PackedLinear>(weight); }
};

struct LayerWeights {
  TensorView input_norm;            // [hidden_size]
  LinearWeight q_proj;              // [num_heads * head_dim, hidden_size]
  LinearWeight k_proj, v_proj;      // [num_kv_heads * head_dim, hidden_size]
  LinearWeight o_proj;              // [hidden_size, num_heads * head_dim]
  TensorView post_attention_norm;   // [hidden_size]
  LinearWeight gate_proj, up_proj;  // [intermediate_size, hidden_size]
  LinearWeight down_proj;           // [hidden_size, intermediate_size]
};

// Every tensor of a text decoder, found, shape-checked and named once. Views into the checkpoint, which must outlive
// it.
struct ModelWeights {
  TensorView embed_tokens;  // [vocab_size, hidden_size]
  std::vector<LayerWeights> layers;
  TensorView final_norm;  // [hidden_size]
  LinearWeight lm_head;   // [vocab_size, hidden_size]; a view of embed_tokens when the file has no head
  bool tied = false;
  int64_t num_parameters = 0;
  std::string quantization;  // "none", or the scheme's text; "mixed: ..." when layers differ
};

// The canonical name of a tensor: wrappers of multimodal layouts removed (model.md 1.3), for example
// "language_model.model.layers.0..." -> "model.layers.0...".
std::string canonical_tensor_name(std::string_view name);

// Finds all tensors a ModelConfig needs, whatever layout the names have. A linear is quantized where
// `<prefix>.weight_packed` exists. Tensors of the vision tower and projector are left alone; any other tensor that is
// not used is reported once as a warning. Errors: bad_data naming tensor, shape found and shape expected.
Result<ModelWeights> build_tensor_table(const Checkpoint& checkpoint, const ModelConfig& config);

// The bytes of one decoder linear by role, in the order in which quantizers and repackers walk a layer.
struct NamedLinear {
  std::string name;
  const LinearWeight* linear;
};
std::vector<NamedLinear> linears_of(const LayerWeights& layer);

}  // namespace assay
