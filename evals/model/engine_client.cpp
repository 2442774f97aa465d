#include "evals/model/engine_client.h"

#include <utility>

namespace assay {
namespace {

class EngineClient final : public ModelClient {
 public:
  explicit EngineClient(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  const EngineInfo& info() const override { return engine_->info(); }
  Result<Tokens> encode(std::string_view text, bool add_special_tokens) const override {
    EncodeOptions options;
    options.add_special_tokens = add_special_tokens;
    return engine_->encode(text, options);
  }
  std::string decode(const Tokens& tokens) const override { return engine_->decode(tokens, false); }
  Result<std::string> render_chat(const std::vector<ChatMessage>& messages,
                                  const RenderOptions& options) const override {
    return engine_->render_chat(messages, options);
  }
  Result<RequestId> submit(LoglikelihoodRequest request) override { return engine_->submit(std::move(request)); }
  Result<RequestId> submit(GenerateRequest request) override { return engine_->submit(std::move(request)); }
  int64_t num_pending() const override { return engine_->num_pending(); }
  EngineStats stats() const override { return engine_->stats(); }

  Result<std::vector<Answer>> wait() override {
    for (;;) {
      std::vector<Answer> answers = engine_->poll();
      if (!answers.empty() || engine_->num_pending() == 0) return answers;
      ASSAY_ASSIGN(const bool more, engine_->step());
      if (!more && engine_->num_pending() > 0) {
        answers = engine_->poll();
        if (answers.empty()) return internal_error("engine: requests are pending but no step is left to run");
        return answers;
      }
    }
  }

 private:
  std::unique_ptr<Engine> engine_;
};

}  // namespace

std::unique_ptr<ModelClient> make_engine_client(std::unique_ptr<Engine> engine) {
  return std::make_unique<EngineClient>(std::move(engine));
}

}  // namespace assay
