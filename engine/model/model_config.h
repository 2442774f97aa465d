#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/request.h"

namespace assay {

// Frequencies of rotary position embeddings and how they were stretched (rope_scaling / rope_parameters).
struct RopeConfig {
  enum class Kind : uint8_t { plain, linear, llama3, yarn, dynamic };
  Kind kind = Kind::plain;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  int64_t original_max_position = 8192;                  // llama3, yarn, dynamic
  double beta_fast = 32, beta_slow = 1;                  // yarn
  bool truncate = true;                                  // yarn: round the corrected range outwards to whole pairs
  std::optional<double> attention_factor;                // yarn: given, or what factor and mscale make of it
};

// The numbers of a text decoder, under their config.json names. Vision and projector numbers join when the eyes are
// built.
struct ModelConfig {
  std::string
      architecture;  // "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Mistral3ForConditionalGeneration"
  std::string model_type;  // of the text part: "llama", "mistral", "qwen2"
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;  // need not be hidden_size / num_heads
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;  // for dynamic rope the original context, up to which it is plain
  double rms_norm_eps = 1e-5;
  RopeConfig rope;
  bool attention_bias = false;  // biases on q, k, v (Qwen2 always; Llama's attention_bias also on o)
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;  // what the file says; the tensor table decides by lm_head.weight's presence
  int64_t sliding_window = 0;        // query i sees keys j with i - window < j <= i; 0: full attention
  std::string torch_dtype;           // "bfloat16", "float16", "float32"; empty when the file does not say
  std::optional<TokenId> bos_token_id;
  Tokens eos_token_ids;  // generation_config.json's, else config.json's

  int64_t q_width() const { return num_heads * head_dim; }
  int64_t kv_width() const { return num_kv_heads * head_dim; }
};

// Reads config.json (flat, or text_config inside a multimodal one; flat rope_theta or rope_parameters) and
// generation_config.json when given. Errors: unsupported names the architecture, activation or rope type and lists what
// is supported; bad_data names the field, its value and the rule (head counts divide, sizes positive and below sane
// bounds).
Result<ModelConfig> read_model_config(const Json& config, const Json* generation_config, std::string_view source);

}  // namespace assay
