#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "engine/request.h"

namespace assay {

struct EngineOptions {
  Path model;                    // a checkpoint folder (config.json, safetensors, tokenizer.json)
  std::string backend = "auto";  // "cpu", "cuda", or "auto": cuda where it can run
  std::string dtype = "auto";    // arithmetic of products and activations: "bfloat16", "float32", "auto" (checkpoint's)
  int num_threads = 0;           // 0: every processor this process may use
  int max_model_len = 0;         // 0: the checkpoint's max_position_embeddings, at most 32768
  int max_batch_tokens = 0;      // tokens a step; 0: the backend's best
  int max_sequences = 0;         // sequences in flight; 0: the backend's best
  int64_t kv_bytes = 0;          // bytes of KV cache; 0: a quarter of free memory, at most 1 GiB on the CPU
  bool prefix_tree = true;       // share the KV of common prefixes
  std::string chat_template;     // text that replaces the checkpoint's template; empty: the checkpoint's
  std::string now_utc;           // the "now" that templates see, as "2025-04-15T00:00:00Z"; empty: that very date
};

// What was opened, for provenance. Digests are SHA-256 in hexadecimal.
struct EngineInfo {
  std::string model_path;
  std::string model_name;      // the folder's last component
  std::string architecture;    // "LlamaForCausalLM"
  std::string quantization;    // "none", or e.g. "w4a16 int4 group 64 symmetric"
  std::string backend;         // "cpu"
  std::string backend_detail;  // e.g. "oneDNN 2.6.3 avx512_core_bf16, 2 threads"
  std::string dtype;           // "bfloat16" or "float32"
  int64_t num_parameters = 0;
  int64_t checkpoint_bytes = 0;  // weight files
  int64_t kv_bytes = 0;          // what was set aside for the KV cache
  int vocab_size = 0;
  int max_model_len = 0;
  std::optional<TokenId> bos_token;
  Tokens eos_tokens;  // generation_config.json's list, else config.json's
  std::string bos_text, eos_text, pad_text;
  std::vector<std::string> special_texts;  // the spelling of every special token; not kept in the store
  bool has_chat_template = false;
  std::string chat_template;   // its text
  std::string weights_sha256;  // of the sorted list "file name, size, SHA-256" of config.json and the weight files
  std::string tokenizer_sha256;
  std::string chat_template_sha256;
  std::string now_utc;  // the "now" that templates saw
};

struct EncodeOptions {
  bool add_special_tokens = false;   // BOS and EOS as tokenizer.json's post-processor says
  bool parse_special_tokens = true;  // text that spells a special token becomes that token
};

struct RenderOptions {
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // leave the last message open: the rendered text ends with its content
};

// A model that answers requests. Scores are a function of the request and the checkpoint only: the same bits alone or
// batched, in any order, with or without shared prefixes, under any token budget.
// submit, step, poll and cancel_all belong to one thread; encode, decode, render_chat and info are safe from any.
class Engine {
 public:
  // Opens a checkpoint folder: reads config and tokenizer, maps weights, prepares them for the backend, reserves KV.
  // Errors: not_found and bad_data name file and field; unsupported names what this program does not do; out_of_memory
  // says what was needed.
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const EngineInfo& info() const = 0;

  // Text to ids. Errors: bad_data for text that is not UTF-8.
  virtual Result<Tokens> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  virtual std::string decode(const Tokens& tokens, bool skip_special_tokens) const = 0;
  // The model's own chat template. Encode its result without adding special tokens: the template writes BOS itself.
  // Errors: not_found when the checkpoint has no template; bad_data when the template raises, with its message.
  virtual Result<std::string> render_chat(const std::vector<ChatMessage>& messages,
                                          const RenderOptions& options) const = 0;

  // Queues a request; it is planned together with everything else that is queued when the next step begins, so submit
  // what shares prefixes together. Errors (nothing is queued): invalid_argument for empty token lists, ids outside the
  // vocabulary, a context longer than max_model_len, bad sampling fields.
  virtual Result<RequestId> submit(LoglikelihoodRequest request) = 0;
  virtual Result<RequestId> submit(GenerateRequest request) = 0;

  // Runs one batch through the model. False when nothing is queued or in flight. A failure that concerns one request
  // becomes that request's Answer::error; a failed Status means the engine itself cannot go on.
  virtual Result<bool> step() = 0;

  // The requests finished since the last poll, in the order they finished.
  virtual std::vector<Answer> poll() = 0;

  virtual void cancel_all() = 0;
  virtual EngineStats stats() const = 0;
  virtual int64_t num_pending() const = 0;  // submitted and not yet polled
};

}  // namespace assay
