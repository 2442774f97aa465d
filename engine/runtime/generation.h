#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/request.h"
#include "engine/runtime/stop.h"
#include "engine/runtime/token_sampler.h"

namespace assay {

// What a tokenizer says about ids. Each function is safe from any thread and total: unknown ids are empty text.
struct TokenTexts {
  std::function<std::string(TokenId)> bytes;  // the raw bytes a token stands for, special tokens as their text
  std::function<bool(TokenId)> is_special;
  std::function<std::string(const Tokens&, bool skip_special_tokens)> decode;  // valid UTF-8
};

// One sample of a generate request while it grows: chosen tokens in, at last a Completion out. Not thread-safe.
// Text is decode(tokens before the stop token); where a stop string cut it, the bytes before that string, invalid UTF-8
// replaced by U+FFFD.
class Generation {
 public:
  // `texts` must outlive the object; `max_history` is how many tokens the model can be fed.
  Generation(const TokenTexts& texts, SharedTokens prompt, std::shared_ptr<const SamplingParams> sampling,
             int sample_index, const Tokens& eos_tokens, size_t max_history);

  // The next token, from a row of logits. Safe to call for several generations at once.
  SampledToken choose(std::span<const float> logits) const;
  // Takes the next token. True when it ended the generation.
  bool accept(SampledToken sampled);
  // Whether the next token ends it, whatever it is.
  bool ends_with_next() const { return !has_room_after(num_generated() + 1); }
  // Ends it without a text: an infrastructure failure.
  void fail(std::string error);

  size_t num_generated() const { return completion_.tokens.size(); }
  const Completion& completion() const { return completion_; }
  Completion take_completion() { return std::move(completion_); }

 private:
  bool has_room_after(size_t num_tokens) const;
  bool is_stop_token(TokenId token) const;
  void end_at_stop_token();
  void end_at_stop_string(const StopWatcher::Hit& hit);
  void end_at_length();

  const TokenTexts* texts_;
  std::shared_ptr<const SamplingParams> sampling_;
  SharedTokens prompt_;
  Tokens barred_early_;  // end-of-sequence ids and the request's stop ids
  Tokens stop_tokens_;   // the same, less the end-of-sequence ids where they are ignored
  size_t max_history_;
  StopWatcher watcher_;
  Completion completion_;
};

}  // namespace assay
