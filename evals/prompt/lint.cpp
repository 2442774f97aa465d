#include "evals/prompt/lint.h"

#include <algorithm>

#include "engine/base/text_util.h"

namespace assay {

bool begins_with_two_bos(const Tokens& tokens, std::optional<TokenId> bos) {
  return bos && tokens.size() >= 2 && tokens[0] == *bos && tokens[1] == *bos;
}

SpecialTexts::SpecialTexts(const std::vector<std::string>& spellings) {
  for (const std::string& spelling : spellings) {
    if (!spelling.empty()) by_first_byte_[static_cast<unsigned char>(spelling[0])].push_back(spelling);
  }
}

bool SpecialTexts::occur_in(std::string_view text) const {
  for (size_t i = 0; i < text.size(); ++i) {
    for (const std::string& spelling : by_first_byte_[static_cast<unsigned char>(text[i])]) {
      if (starts_with(text.substr(i), spelling)) return true;
    }
  }
  return false;
}

bool SpecialTexts::occur_in(const Question& question) const {
  const auto any = [this](const std::vector<std::string>& texts) {
    return std::any_of(texts.begin(), texts.end(), [this](const std::string& text) { return occur_in(text); });
  };
  return occur_in(question.text) || occur_in(question.target) || any(question.contexts) || any(question.choices);
}

}  // namespace assay
