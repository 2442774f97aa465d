#include "engine/runtime/generation.h"

#include <algorithm>
#include <utility>

#include "engine/base/text_util.h"

namespace assay {

Generation::Generation(const TokenTexts& texts, SharedTokens prompt, std::shared_ptr<const SamplingParams> sampling,
                       int sample_index, const Tokens& eos_tokens, size_t max_history)
    : texts_(&texts),
      sampling_(std::move(sampling)),
      prompt_(std::move(prompt)),
      barred_early_(sampling_->stop_token_ids),
      max_history_(max_history),
      watcher_(sampling_->stop) {
  barred_early_.insert(barred_early_.end(), eos_tokens.begin(), eos_tokens.end());
  stop_tokens_ = sampling_->ignore_eos ? sampling_->stop_token_ids : barred_early_;
  completion_.sample_index = sample_index;
}

SampledToken Generation::choose(std::span<const float> logits) const {
  const bool too_early = num_generated() < static_cast<size_t>(sampling_->min_tokens);
  Tokens history = *prompt_;
  history.insert(history.end(), completion_.tokens.begin(), completion_.tokens.end());
  return sample_token(logits, *sampling_, completion_.sample_index, history, static_cast<int32_t>(prompt_->size()),
                      too_early ? barred_early_ : Tokens{});
}

bool Generation::accept(SampledToken sampled) {
  completion_.tokens.push_back(sampled.token);
  completion_.logprobs.push_back(sampled.logprob);
  if (sampling_->num_logprobs > 0) completion_.top_logprobs.push_back(std::move(sampled.top));
  if (is_stop_token(sampled.token)) {
    end_at_stop_token();
    return true;
  }
  const bool silent = sampling_->skip_special_tokens && texts_->is_special(sampled.token);
  if (!sampling_->stop.empty() && !silent) {
    if (const auto hit = watcher_.append(texts_->bytes(sampled.token))) {
      end_at_stop_string(*hit);
      return true;
    }
  }
  if (has_room_after(num_generated())) return false;
  end_at_length();
  return true;
}

// What fills the model's context to the brim is predicted but cannot be fed.
bool Generation::has_room_after(size_t num_tokens) const {
  return prompt_->size() + num_tokens <= max_history_ && num_tokens < static_cast<size_t>(sampling_->max_tokens);
}

void Generation::fail(std::string error) {
  completion_.finish = FinishReason::failed;
  completion_.error = std::move(error);
}

bool Generation::is_stop_token(TokenId token) const {
  return std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end();
}

void Generation::end_at_stop_token() {
  const Tokens kept(completion_.tokens.begin(), completion_.tokens.end() - 1);
  completion_.finish = FinishReason::stop_token;
  completion_.stop_match = replace_invalid_utf8(texts_->bytes(completion_.tokens.back()));
  completion_.text = texts_->decode(kept, sampling_->skip_special_tokens);
}

void Generation::end_at_stop_string(const StopWatcher::Hit& hit) {
  completion_.finish = FinishReason::stop_string;
  completion_.stop_match = sampling_->stop[hit.stop_index];
  completion_.text = replace_invalid_utf8(std::string_view(watcher_.text()).substr(0, hit.text_bytes));
}

void Generation::end_at_length() {
  completion_.finish = FinishReason::length;
  completion_.text = texts_->decode(completion_.tokens, sampling_->skip_special_tokens);
}

}  // namespace assay
