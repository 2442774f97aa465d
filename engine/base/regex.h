#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace assay {

// One match: byte offsets into the subject. Group 0 is the whole match; a group that took no part has begin == npos.
struct RegexMatch {
  struct Span {
    size_t begin = std::string_view::npos;
    size_t end = std::string_view::npos;
    bool matched() const { return begin != std::string_view::npos; }
  };
  std::vector<Span> groups;
  size_t begin() const { return groups[0].begin; }
  size_t end() const { return groups[0].end; }
};

struct RegexOptions {
  bool ignore_case = false;
  bool dot_all = false;        // '.' matches newlines too
  bool ascii_classes = false;  // \d \w \s match ASCII only; the default follows Unicode, as Python's str patterns do
  uint32_t match_limit = 10'000'000;  // backtracking steps before a search gives up with an error
};

// A compiled PCRE2 pattern over UTF-8 text with a bound on backtracking steps and memory, so that no text can hang a
// search; one that gives up is bad_data. The syntax is PCRE2's: what Python writes as \Z is \z here, {,n} is {0,n},
// \uXXXX is \x{XXXX}. '.' stops at line feeds alone, '$' also matches before a last line feed, as in Python.
// Immutable after compile(); searches from several threads at once are safe.
class Regex {
 public:
  // Errors: invalid_argument with the offset and PCRE2's reason.
  static Result<Regex> compile(std::string_view pattern, const RegexOptions& options = {});

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // The leftmost match at or after byte `start`, or nullopt. `subject` must be valid UTF-8 (bad_data otherwise).
  Result<std::optional<RegexMatch>> search(std::string_view subject, size_t start = 0) const;
  // All matches, left to right, as Python's re.finditer gives them (an empty match moves on by one character).
  Result<std::vector<RegexMatch>> find_all(std::string_view subject) const;
  // Whether the pattern matches at the very start of the subject (Python's re.match).
  Result<bool> matches_prefix(std::string_view subject) const;
  // Every match replaced by `replacement`, taken literally.
  Result<std::string> replace_all(std::string_view subject, std::string_view replacement) const;

  const std::string& pattern() const;

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The pattern that matches `text` literally.
std::string regex_escape(std::string_view text);

}  // namespace assay
