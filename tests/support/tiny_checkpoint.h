#pragma once

#include <cstdint>
#include <string>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "engine/formats/tensor.h"

namespace assay::testing {

// The numbers of a small random model. The defaults give about 100,000 parameters and full grouped-query attention.
struct TinyModel {
  // "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM" or "Mistral3ForConditionalGeneration" (nested config,
  // names under "language_model.", and a few vision and projector tensors that a text decoder leaves alone).
  std::string architecture = "LlamaForCausalLM";
  int64_t hidden = 64;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 16;  // heads * head_dim need not be hidden
  int64_t intermediate = 128;
  int64_t vocab = kTinyVocab;  // at least kTinyVocab; ids beyond have no token
  int64_t max_positions = 4096;
  int64_t sliding_window = 0;  // 0: null in config.json
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-5;
  bool tie = true;              // no lm_head.weight
  bool attention_bias = false;  // Llama: biases on q, k, v, o. Qwen2 has them on q, k, v anyway
  bool mlp_bias = false;
  bool add_bos = false;  // the tokenizer's post-processor prepends <s>
  DType dtype =
      DType::bf16;     // bf16, f16 or f32; the values are rounded to bf16 first, so bf16 and f32 hold the same ones
  int64_t shards = 1;  // 2: model-00001-of-00002.safetensors, ... and an index
  uint64_t seed = 1;

  static constexpr int64_t kTinyVocab = 300;
};

// Ids of the tokenizer that every tiny checkpoint has: four special tokens, then the 256 byte tokens in byte order,
// then merges ("Ġthe", "Answer", ...).
inline constexpr int32_t kTinyBos = 0;        // <s>
inline constexpr int32_t kTinyEos = 1;        // </s>
inline constexpr int32_t kTinyImStart = 2;    // <|im_start|>
inline constexpr int32_t kTinyImEnd = 3;      // <|im_end|>, config.json's eos; generation_config.json lists [3, 1]
inline constexpr int32_t kTinyFirstByte = 4;  // byte b is token 4 + b

// Writes config.json, generation_config.json, tokenizer.json, tokenizer_config.json (with a ChatML template) and the
// weights into `dir`, which is created. The same TinyModel gives the same bytes everywhere. Returns `dir`.
Result<Path> write_tiny_checkpoint(const Path& dir, const TinyModel& model = {});

}  // namespace assay::testing
