#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "evals/prompt/prompt.h"
#include "evals/task/task.h"

namespace assay {

// What can be wrong with one prompt although everything ran, as bits of one number.
enum PromptLint : uint32_t {
  kTwoBos = 1,         // the sequence begins with two beginning-of-sequence tokens
  kSpecialInText = 2,  // a question or shot spells a special token, which the tokenizer turns into that token
  kBoundaryMerge = 4,  // context and continuation share a token: the context's ids do not begin the whole text's
  kTruncated = 8,      // cut from the left to fit the context
  kSystemDropped = 16  // the chat template refused a system message, so it was left out
};

// Whether `tokens` begins with `bos` twice.
bool begins_with_two_bos(const Tokens& tokens, std::optional<TokenId> bos);

// Finds spellings of special tokens in texts. Immutable; thread-safe.
class SpecialTexts {
 public:
  explicit SpecialTexts(const std::vector<std::string>& spellings);
  bool occur_in(std::string_view text) const;
  bool occur_in(const Question& question) const;  // in any of its texts, the answer as a shot shows it included

 private:
  std::array<std::vector<std::string>, 256> by_first_byte_;
};

}  // namespace assay
