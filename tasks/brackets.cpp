#include "tasks/brackets.h"

namespace assay {

std::string without_brackets(std::string_view text) {
  std::string kept;
  for (size_t i = 0; i < text.size();) {
    const size_t close = text[i] == '[' ? text.find(']', i) : std::string_view::npos;
    const bool bracketed =
        close != std::string_view::npos && text.substr(i, close - i).find('\n') == std::string_view::npos;
    if (!bracketed) kept.push_back(text[i]);
    i = bracketed ? close + 1 : i + 1;
  }
  return kept;
}

}  // namespace assay
