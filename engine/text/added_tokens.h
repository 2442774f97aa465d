#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/regex.h"
#include "engine/base/status.h"
#include "engine/text/vocab_files.h"

namespace assay {

// Finds added tokens in text: leftmost, longest, none overlapping. Immutable, thread-safe.
class AddedTokenMatcher {
 public:
  // A stretch of text: an added token, or what lies between two.
  struct Segment {
    uint32_t begin = 0;
    uint32_t end = 0;
    TokenId token = -1;  // -1: text
  };

  AddedTokenMatcher() = default;
  // `contents[i]` is the text that tokens[i] is found by; empty ones are never found. Errors: internal only.
  static Result<AddedTokenMatcher> make(const std::vector<AddedToken>& tokens,
                                        const std::vector<std::string>& contents);

  bool empty() const { return nodes_.size() <= 1; }
  // Appends the segments of `text`, in order; a token's segment holds the white space that it takes along. With
  // `skip_special` a special token's text stays text, and, as Hugging Face has it, hides shorter tokens inside.
  void split(std::string_view text, bool skip_special, std::vector<Segment>& out) const;

 private:
  struct Node {
    int32_t child = -1;    // first child
    int32_t sibling = -1;  // next child of the same parent
    int32_t token = -1;    // index into tokens_ of the content that ends here
    char byte = 0;
  };
  struct Match {
    int32_t token = -1;
    size_t length = 0;
  };
  void insert(std::string_view content, int32_t token);
  int32_t child_of(int32_t node, char byte) const;
  Match longest_at(std::string_view text, size_t at) const;
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<Node> nodes_;          // a trie; [0] is its root
  std::vector<int32_t> root_child_;  // by first byte; -1: no token begins so
  std::vector<AddedToken> tokens_;
  std::optional<Regex> word_start_;  // a word character at the start; only when a token asks for single_word
};

}  // namespace assay
