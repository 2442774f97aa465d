#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "engine/cpu/cpu_backend.h"
#ifdef ASSAY_HAVE_CUDA
#include "engine/cuda/cuda_backend.h"
#endif
#include "engine/formats/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"
#include "engine/runtime/request_loop.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

namespace assay {
namespace {

constexpr int kLongestByDefault = 32768;
constexpr std::string_view kNowByDefault = "2025-04-15T00:00:00Z";

Status check_options(const EngineOptions& options) {
  if (options.backend != "auto" && options.backend != "cpu" && options.backend != "cuda")
    return invalid_argument(fmt::format("backend: '{}' is not known, expected auto, cpu or cuda", options.backend));
  const std::pair<const char*, int64_t> counts[] = {{"threads", options.num_threads},
                                                    {"max_model_len", options.max_model_len},
                                                    {"max_batch_tokens", options.max_batch_tokens},
                                                    {"max_sequences", options.max_sequences},
                                                    {"kv_bytes", options.kv_bytes}};
  for (const auto& [name, value] : counts) {
    if (value < 0)
      return invalid_argument(fmt::format("{}: {} is negative, expected 0 (choose for me) or more", name, value));
  }
  return ok_status();
}

Result<int64_t> parse_now(const std::string& now_utc) {
  const int64_t now_us = parse_utc(now_utc);
  if (now_us >= 0) return now_us;
  return invalid_argument(fmt::format("now_utc: '{}' is no time, expected one like {}", now_utc, kNowByDefault));
}

Result<int> choose_max_model_len(const EngineOptions& options, const ModelConfig& config) {
  if (options.max_model_len == 0)
    return static_cast<int>(std::min<int64_t>(config.max_position_embeddings, kLongestByDefault));
  if (options.max_model_len <= config.max_position_embeddings) return options.max_model_len;
  return invalid_argument(
      fmt::format("max_model_len: {} is beyond the model's max_position_embeddings, expected at most {}",
                  options.max_model_len, config.max_position_embeddings));
}

// The one place that picks a backend.
Result<std::unique_ptr<Backend>> make_backend(const std::string& name, const ModelConfig& config,
                                              const ModelWeights& weights, const BackendOptions& options) {
#ifdef ASSAY_HAVE_CUDA
  std::string why_not;
  if (name == "cuda" || (name == "auto" && cuda::has_device(&why_not)))
    return cuda::make_cuda_backend(config, weights, options);
  if (name == "auto") log_detail(fmt::format("backend: cpu, for there is no CUDA device to run on: {}", why_not));
#else
  if (name == "cuda") return unavailable("backend cuda: this build of Assay has no CUDA; use --backend cpu");
#endif
  return cpu::make_cpu_backend(config, weights, options);
}

Result<std::optional<ChatTemplate>> open_chat_template(const EngineOptions& options, const Tokenizer& tokenizer) {
  if (options.chat_template.empty()) return ChatTemplate::open(options.model);
  std::map<std::string, std::string> special_tokens;
  for (const auto& [name, text] : {std::pair{"bos_token", tokenizer.bos_text()},
                                   {"eos_token", tokenizer.eos_text()},
                                   {"pad_token", tokenizer.pad_text()},
                                   {"unk_token", tokenizer.unk_text()}}) {
    if (!text.empty()) special_tokens[name] = text;
  }
  ASSAY_ASSIGN(ChatTemplate given,
               ChatTemplate::from_text(options.chat_template, std::move(special_tokens), "the given chat template"));
  return std::optional<ChatTemplate>(std::move(given));
}

Tokens eos_tokens_of(const ModelConfig& config, const Tokenizer& tokenizer) {
  if (!config.eos_token_ids.empty()) return config.eos_token_ids;
  const auto found = tokenizer.find_token(tokenizer.eos_text());
  return found ? Tokens{*found} : Tokens{};
}

// "int4 group 64 symmetric" is called w4a16 by those who publish it.
std::string quantization_label(const std::string& scheme) {
  for (const std::string_view bits : {"4", "8"}) {
    if (starts_with(scheme, fmt::format("int{}", bits))) return fmt::format("w{}a16 {}", bits, scheme);
  }
  return scheme;
}

std::string folder_name(const Path& path) {
  const Path named = path.lexically_normal();
  return (named.has_filename() ? named : named.parent_path()).filename().string();
}

// What Engine::open has gathered before a backend is there.
struct OpenedFolder {
  Checkpoint checkpoint;
  ModelConfig config;
  ModelWeights weights;
  Tokenizer tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::string weights_sha256;
};

Result<OpenedFolder> open_folder(const EngineOptions& options) {
  ASSAY_ASSIGN(Checkpoint checkpoint, Checkpoint::open(options.model));
  const auto& generation_config = checkpoint.generation_config();
  ASSAY_ASSIGN(ModelConfig config,
               read_model_config(checkpoint.config(), generation_config ? &*generation_config : nullptr,
                                 (options.model / "config.json").string()));
  ASSAY_ASSIGN(ModelWeights weights, build_tensor_table(checkpoint, config));
  std::optional<Result<Tokenizer>> tokenizer;
  std::optional<Result<std::string>> digest;
  const auto job = [&](size_t i) {
    if (i == 0) {
      tokenizer.emplace(Tokenizer::open(options.model));
    } else {
      digest.emplace(checkpoint.digest());
    }
  };
  parallel_for(2, job, options.num_threads);
  ASSAY_TRY(*tokenizer);
  ASSAY_TRY(*digest);
  ASSAY_ASSIGN(std::optional<ChatTemplate> chat_template, open_chat_template(options, **tokenizer));
  return OpenedFolder{std::move(checkpoint),  std::move(config),        std::move(weights),
                      std::move(**tokenizer), std::move(chat_template), std::move(**digest)};
}

EngineInfo describe(const EngineOptions& options, const OpenedFolder& folder, const BackendInfo& backend,
                    int max_model_len) {
  EngineInfo info;
  info.model_path = options.model.string();
  info.model_name = folder_name(options.model);
  info.architecture = folder.config.architecture;
  info.quantization = quantization_label(folder.weights.quantization);
  info.backend = backend.name;
  info.backend_detail = backend.detail;
  info.dtype = backend.dtype;
  info.num_parameters = folder.weights.num_parameters;
  info.checkpoint_bytes = folder.checkpoint.total_bytes();
  info.kv_bytes = backend.kv_bytes;
  info.vocab_size = static_cast<int>(folder.config.vocab_size);
  info.max_model_len = max_model_len;
  const Tokenizer& tokenizer = folder.tokenizer;
  if (!tokenizer.bos_text().empty()) info.bos_token = tokenizer.find_token(tokenizer.bos_text());
  info.eos_tokens = eos_tokens_of(folder.config, tokenizer);
  info.bos_text = tokenizer.bos_text();
  info.eos_text = tokenizer.eos_text();
  info.pad_text = tokenizer.pad_text();
  for (TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
    if (tokenizer.is_special(token)) info.special_texts.push_back(tokenizer.token_bytes(token));
  }
  info.has_chat_template = folder.chat_template.has_value();
  if (folder.chat_template) {
    info.chat_template = folder.chat_template->text();
    info.chat_template_sha256 = sha256_hex(info.chat_template);
  }
  info.weights_sha256 = folder.weights_sha256;
  info.tokenizer_sha256 = tokenizer.digest();
  info.now_utc = options.now_utc;
  return info;
}

RequestLoopOptions loop_options(const EngineOptions& options, const EngineInfo& info, const BackendInfo& backend) {
  RequestLoopOptions loop;
  loop.vocab_size = info.vocab_size;
  loop.max_model_len = info.max_model_len;
  loop.eos_tokens = info.eos_tokens;
  loop.max_batch_tokens = backend.max_batch_tokens;
  if (options.max_batch_tokens > 0)
    loop.max_batch_tokens = std::min(options.max_batch_tokens, backend.max_batch_tokens);
  loop.max_sequences = options.max_sequences > 0 ? options.max_sequences : backend.max_sequences;
  loop.num_threads = options.num_threads;
  loop.prefix_tree = options.prefix_tree;
  return loop;
}

// An opened checkpoint on a backend in this process.
class LocalEngine final : public Engine {
 public:
  LocalEngine(std::unique_ptr<OpenedFolder> folder, std::unique_ptr<Backend> backend, EngineInfo info, int64_t now_us,
              const RequestLoopOptions& loop_options)
      : folder_(std::move(folder)),
        backend_(std::move(backend)),
        info_(std::move(info)),
        now_us_(now_us),
        texts_{[this](TokenId token) { return folder_->tokenizer.token_bytes(token); },
               [this](TokenId token) { return folder_->tokenizer.is_special(token); },
               [this](const Tokens& tokens, bool skip_special) {
                 return folder_->tokenizer.decode(tokens, skip_special);
               }},
        loop_(*backend_, texts_, loop_options) {}
  LocalEngine(const LocalEngine&) = delete;
  LocalEngine& operator=(const LocalEngine&) = delete;

  const EngineInfo& info() const override { return info_; }

  Result<Tokens> encode(std::string_view text, const EncodeOptions& options) const override {
    TokenizeOptions tokenize;
    tokenize.add_special_tokens = options.add_special_tokens;
    tokenize.parse_special_tokens = options.parse_special_tokens;
    return folder_->tokenizer.encode(text, tokenize);
  }

  std::string decode(const Tokens& tokens, bool skip_special_tokens) const override {
    return folder_->tokenizer.decode(tokens, skip_special_tokens);
  }

  Result<std::string> render_chat(const std::vector<ChatMessage>& messages,
                                  const RenderOptions& options) const override {
    if (!folder_->chat_template)
      return not_found(
          fmt::format("{}: has no chat template (chat_template.jinja, chat_template.json or "
                      "tokenizer_config.json's chat_template); give one, or ask without a template",
                      info_.model_path));
    ChatRenderOptions render;
    render.add_generation_prompt = options.add_generation_prompt;
    render.continue_final_message = options.continue_final_message;
    return folder_->chat_template->render(messages, render, now_us_);
  }

  Result<RequestId> submit(LoglikelihoodRequest request) override { return loop_.submit(std::move(request)); }
  Result<RequestId> submit(GenerateRequest request) override { return loop_.submit(std::move(request)); }
  Result<bool> step() override { return loop_.step(); }
  std::vector<Answer> poll() override { return loop_.poll(); }
  void cancel_all() override { loop_.cancel_all(); }
  EngineStats stats() const override { return loop_.stats(); }
  int64_t num_pending() const override { return loop_.num_pending(); }

 private:
  std::unique_ptr<OpenedFolder> folder_;  // at one address: the backend looks into it
  std::unique_ptr<Backend> backend_;
  EngineInfo info_;
  int64_t now_us_;
  TokenTexts texts_;
  RequestLoop loop_;
};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const EngineOptions& given) {
  EngineOptions options = given;
  if (options.now_utc.empty()) options.now_utc = kNowByDefault;
  ASSAY_TRY(check_options(options));
  ASSAY_ASSIGN(const int64_t now_us, parse_now(options.now_utc));
  ASSAY_ASSIGN(OpenedFolder opened, open_folder(options));
  auto folder = std::make_unique<OpenedFolder>(std::move(opened));
  ASSAY_ASSIGN(const int max_model_len, choose_max_model_len(options, folder->config));
  BackendOptions backend_options;
  backend_options.dtype = options.dtype;
  backend_options.num_threads = options.num_threads;
  backend_options.kv_bytes = options.kv_bytes;
  backend_options.max_model_len = max_model_len;
  backend_options.max_batch_tokens = options.max_batch_tokens;
  ASSAY_ASSIGN(std::unique_ptr<Backend> backend,
               make_backend(options.backend, folder->config, folder->weights, backend_options));
  EngineInfo info = describe(options, *folder, backend->info(), max_model_len);
  const RequestLoopOptions loop = loop_options(options, info, backend->info());
  return std::unique_ptr<Engine>(
      std::make_unique<LocalEngine>(std::move(folder), std::move(backend), std::move(info), now_us, loop));
}

}  // namespace assay
