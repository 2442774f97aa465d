#include "engine/text/recent_text.h"

#include <algorithm>

namespace assay {
namespace {

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A text this long would keep more memory than it saves time.
constexpr size_t kTooLong = size_t{1} << 22;

}  // namespace

size_t next_word_cut(std::string_view text, size_t from) {
  for (size_t i = std::max<size_t>(from, 1); i + 1 < text.size(); ++i) {
    if (text[i] == ' ' && is_ascii_letter(text[i - 1]) && is_ascii_letter(text[i + 1])) return i;
  }
  return std::string_view::npos;
}

RecentText& RecentText::of_this_thread() {
  static thread_local RecentText recent;
  return recent;
}

size_t RecentText::keep_common(uint64_t owner, std::string_view text) {
  if (owner != owner_) forget();
  owner_ = owner;
  const auto differ = std::mismatch(text.begin(), text.end(), text_.begin(), text_.end()).first;
  const auto common = static_cast<size_t>(differ - text.begin());
  // A cut is one by the letter behind its space, too.
  while (!cuts_.empty() && cuts_.back().byte + 2 > common) cuts_.pop_back();
  const Cut kept = cuts_.empty() ? Cut{} : cuts_.back();
  text_.resize(kept.byte);
  tokens_.resize(kept.num_tokens);
  return kept.byte;
}

void RecentText::extend(std::string_view text) {
  text_.append(text.substr(text_.size()));
  if (text_.size() > kTooLong) owner_ = 0;
}

void RecentText::forget() {
  owner_ = 0;
  text_.clear();
  tokens_.clear();
  cuts_.clear();
}

}  // namespace assay
