#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/hash.h"
#include "evals/model/model_client.h"

namespace assay::testing {

// A model that answers by rule: one token a byte, a loglikelihood that depends on the bytes asked only, a generation
// from a function. Answers come back `batch` at a time, the last submitted first, so that nothing can lean on their
// order.
class ScriptedClient final : public ModelClient {
 public:
  ScriptedClient() {
    info_.model_path = "scripted";
    info_.model_name = "scripted";
    info_.quantization = "none";
    info_.dtype = "float32";
    info_.backend = "script";
    info_.vocab_size = 256;
    info_.max_model_len = 4096;
    info_.weights_sha256 = sha256_hex("weights");
    info_.tokenizer_sha256 = sha256_hex("bytes");
    info_.eos_tokens = {0};
  }

  size_t batch = 7;
  int64_t fail_wait_after = -1;  // wait() fails once this many answers were given
  std::function<std::string(const std::string&)> generate = [](const std::string&) {
    return std::string("The answer is #### 4");
  };
  std::function<std::string(const std::string&)> error = [](const std::string&) { return std::string(); };  // by prompt
  EngineInfo& mutable_info() { return info_; }
  int64_t answers_given() const { return given_; }

  const EngineInfo& info() const override { return info_; }
  Result<Tokens> encode(std::string_view text, bool) const override {
    Tokens tokens;
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string decode(const Tokens& tokens) const override {
    std::string text;
    for (const TokenId token : tokens) text += static_cast<char>(token);
    return text;
  }
  Result<std::string> render_chat(const std::vector<ChatMessage>& messages, const RenderOptions&) const override {
    std::string text;
    for (const ChatMessage& message : messages) text += "<" + message.role + ">" + message.content + "</>";
    return text;
  }

  Result<RequestId> submit(LoglikelihoodRequest request) override {
    Answer answer;
    answer.id = ++next_id_;
    const std::string bytes = decode(*request.context) + "|" + decode(request.continuation);
    answer.error = error(decode(*request.context));
    if (answer.error.empty()) {
      Loglikelihood scored;
      for (size_t i = 0; i < request.continuation.size(); ++i) {
        scored.logprobs.push_back(-static_cast<float>(hash64(bytes, i) % 1000) / 100);
        scored.sum += scored.logprobs.back();
      }
      answer.loglikelihoods.push_back(std::move(scored));
    }
    stats_.tokens_asked += static_cast<int64_t>(bytes.size());
    stats_.tokens_computed += static_cast<int64_t>(bytes.size());
    pending_.push_back(std::move(answer));
    return next_id_;
  }

  Result<RequestId> submit(GenerateRequest request) override {
    Answer answer;
    answer.id = ++next_id_;
    const std::string prompt = decode(*request.prompt);
    answer.error = error(prompt);
    if (answer.error.empty()) {
      Completion completion;
      completion.text = generate(prompt);
      completion.tokens = *encode(completion.text, false);
      completion.finish = FinishReason::stop_token;
      answer.completions.push_back(std::move(completion));
    }
    pending_.push_back(std::move(answer));
    return next_id_;
  }

  Result<std::vector<Answer>> wait() override {
    std::vector<Answer> answers;
    while (!pending_.empty() && answers.size() < batch) {
      if (fail_wait_after >= 0 && given_ >= fail_wait_after) return internal_error("scripted failure of the machine");
      answers.push_back(std::move(pending_.back()));
      pending_.pop_back();
      ++given_;
    }
    return answers;
  }
  int64_t num_pending() const override { return static_cast<int64_t>(pending_.size()); }
  EngineStats stats() const override { return stats_; }

 private:
  EngineInfo info_;
  EngineStats stats_;
  std::deque<Answer> pending_;
  RequestId next_id_ = 0;
  int64_t given_ = 0;
};

}  // namespace assay::testing
