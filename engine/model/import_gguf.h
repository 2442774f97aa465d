#pragma once

#include <string>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/formats/gguf.h"
#include "engine/model/gguf_tokenizer.h"

namespace assay {

struct GgufImportReport {
  std::string architecture;  // "llama", "qwen2"
  int64_t num_tensors = 0;
  int64_t num_parameters = 0;
  int64_t bytes_written = 0;
};

// Writes a Hugging Face style checkpoint folder from a GGUF file: model.safetensors (shards of at most 4 GiB) in bf16,
// config.json, generation_config.json, tokenizer.json, tokenizer_config.json with the chat template. Every tensor is
// dequantized to float32 and rounded once to bf16; q and k rows of llama-architecture files go back from interleaved to
// half-split order (model.md 8.5); output.weight becomes lm_head.weight, absent when tied. The folder appears under its
// final name only when complete, after it has been read back as a model. Rows are decoded by all threads; one tensor in
// bf16 is in memory at a time. Supported architectures: llama, qwen2. Vocabularies: byte-level BPE ("gpt2").
// Errors: unsupported names what; bad_data names tensor and rule; invalid_argument when `out` exists and is not empty.
Result<GgufImportReport> import_gguf(const GgufFile& gguf, const Path& out);

// The parts, for tests: each a pure function of the metadata and the tensors' names and shapes.
Result<Json> gguf_to_config_json(const GgufFile& gguf);
Result<Json> gguf_to_generation_config_json(const GgufFile& gguf);
// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; empty for a name it does not know.
std::string gguf_to_hf_name(std::string_view gguf_name);

}  // namespace assay
