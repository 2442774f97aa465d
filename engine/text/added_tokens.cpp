#include "engine/text/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/text/char_class.h"
#include "engine/text/regex_dialect.h"

namespace assay {
namespace {

size_t last_char_begin(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && is_continuation_byte(text[begin])) --begin;
  return begin;
}

bool is_space_at(std::string_view text, size_t at) {
  return (char_class(decode_valid(text, at).code_point) & kAnySpace) != 0;
}

// Where the white space that ends `text` begins.
size_t trailing_space_begin(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    const size_t previous = last_char_begin(text.substr(0, begin));
    if (!is_space_at(text, previous)) break;
    begin = previous;
  }
  return begin;
}

size_t leading_space_length(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && is_space_at(text, length)) length += decode_valid(text, length).length;
  return length;
}

}  // namespace

Result<AddedTokenMatcher> AddedTokenMatcher::make(const std::vector<AddedToken>& tokens,
                                                  const std::vector<std::string>& contents) {
  AddedTokenMatcher matcher;
  matcher.tokens_ = tokens;
  matcher.nodes_.emplace_back();
  for (size_t i = 0; i < tokens.size(); ++i) matcher.insert(contents[i], static_cast<int32_t>(i));
  matcher.root_child_.assign(256, -1);
  for (int32_t child = matcher.nodes_[0].child; child >= 0;
       child = matcher.nodes_[static_cast<size_t>(child)].sibling) {
    matcher.root_child_[static_cast<unsigned char>(matcher.nodes_[static_cast<size_t>(child)].byte)] = child;
  }
  if (std::any_of(tokens.begin(), tokens.end(), [](const AddedToken& token) { return token.single_word; })) {
    ASSAY_ASSIGN(matcher.word_start_, Regex::compile(fmt::format("[{}]", kRustWord)));
  }
  return matcher;
}

int32_t AddedTokenMatcher::child_of(int32_t node, char byte) const {
  int32_t child = nodes_[static_cast<size_t>(node)].child;
  while (child >= 0 && nodes_[static_cast<size_t>(child)].byte != byte)
    child = nodes_[static_cast<size_t>(child)].sibling;
  return child;
}

void AddedTokenMatcher::insert(std::string_view content, int32_t token) {
  if (content.empty()) return;
  int32_t node = 0;
  for (const char byte : content) {
    int32_t child = child_of(node, byte);
    if (child < 0) {
      child = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({.sibling = nodes_[static_cast<size_t>(node)].child, .byte = byte});
      nodes_[static_cast<size_t>(node)].child = child;
    }
    node = child;
  }
  nodes_[static_cast<size_t>(node)].token = token;
}

AddedTokenMatcher::Match AddedTokenMatcher::longest_at(std::string_view text, size_t at) const {
  Match match;
  int32_t node = root_child_[static_cast<unsigned char>(text[at])];
  for (size_t i = at + 1; node >= 0; ++i) {
    if (nodes_[static_cast<size_t>(node)].token >= 0) match = {nodes_[static_cast<size_t>(node)].token, i - at};
    if (i == text.size()) break;
    node = child_of(node, text[i]);
  }
  return match;
}

bool AddedTokenMatcher::stands_alone(std::string_view text, size_t begin, size_t end) const {
  const auto starts_with_word = [&](std::string_view rest) {
    return word_start_->matches_prefix(rest).value_or(false);
  };
  if (begin > 0) {
    const size_t previous = last_char_begin(text.substr(0, begin));
    if (starts_with_word(text.substr(previous, begin - previous))) return false;
  }
  if (end == text.size()) return true;
  return !starts_with_word(text.substr(end, decode_valid(text, end).length));
}

void AddedTokenMatcher::split(std::string_view text, bool skip_special, std::vector<Segment>& out) const {
  size_t done = 0;
  const auto add = [&](size_t begin, size_t end, TokenId token) {
    out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), token});
  };
  for (size_t at = 0; at < text.size() && !empty();) {
    const Match match = root_child_[static_cast<unsigned char>(text[at])] < 0 ? Match{} : longest_at(text, at);
    if (match.token < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.token)];
    size_t begin = at;
    size_t end = at + match.length;
    at = end;
    if (skip_special && token.special) continue;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    // White space that the token before has taken is not taken again; a token found inside it still counts.
    if (token.lstrip) begin = std::max(trailing_space_begin(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space_length(text.substr(end));
    if (done < begin) add(done, begin, -1);
    add(begin, end, token.id);
    done = end;
  }
  if (done < text.size()) add(done, text.size(), -1);
}

}  // namespace assay
