#pragma once

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/formats/gguf.h"

namespace assay {

// A byte-level BPE vocabulary of a GGUF file ("tokenizer.ggml.model" gpt2) as a Hugging Face tokenizer.json:
// pre-tokenizer and normalizer by the label "tokenizer.ggml.pre" (smollm, qwen2, llama-bpe, gpt-2, tekken, default),
// control and user-defined tokens as added tokens, unused ones left out. Bytes without a token have none here either.
// Errors: unsupported names the model or label and lists the known ones; bad_data names key, index and rule.
Result<Json> gguf_to_tokenizer_json(const GgufFile& gguf);

// tokenizer_config.json beside it: special tokens by their text, and the chat template, or all of them when named ones
// exist.
Result<Json> gguf_to_tokenizer_config_json(const GgufFile& gguf);

// Ids that end a text: the end-of-sequence and end-of-turn ids, then control tokens whose text is a known end marker
// (as llama.cpp reads them), except the one that the file calls unknown. At most one of each, possibly none.
Result<std::vector<int64_t>> gguf_end_ids(const GgufFile& gguf);

// Whether encoding is to prepend BOS: "tokenizer.ggml.add_bos_token", else the rule of the label.
bool gguf_adds_bos(const GgufFile& gguf);

}  // namespace assay
