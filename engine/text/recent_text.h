#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"

namespace assay {

// The first position from `from` on where a space stands between two ASCII letters, which a text may be cut at;
// npos: none.
size_t next_word_cut(std::string_view text, size_t from);

// The text that a thread encoded last, with its tokens and the places it may be cut at: the next text mostly begins the
// same way (shots, a question with another choice), and what lies before the last common cut need not be encoded again.
// One a thread.
class RecentText {
 public:
  static RecentText& of_this_thread();

  // Keeps what `text` has in common with the recent one under the same `owner` (a tokenizer with its options), up to a
  // cut, and forgets the rest. Returns the bytes kept.
  size_t keep_common(uint64_t owner, std::string_view text);
  // Takes over the bytes of `text` behind the kept ones. Their tokens are the caller's to append to tokens().
  void extend(std::string_view text);
  void add_cut(size_t byte) { cuts_.push_back({byte, tokens_.size()}); }
  void forget();

  Tokens& tokens() { return tokens_; }

 private:
  struct Cut {
    size_t byte = 0;
    size_t num_tokens = 0;  // of the text before it
  };
  uint64_t owner_ = 0;
  std::string text_;
  Tokens tokens_;
  std::vector<Cut> cuts_;
};

}  // namespace assay
