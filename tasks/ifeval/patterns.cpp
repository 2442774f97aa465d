#include "tasks/ifeval/patterns.h"

#include "engine/base/check.h"
#include "engine/base/text_util.h"

namespace assay::ifeval {

Regex pattern(std::string_view text, const RegexOptions& options) {
  Result<Regex> regex = Regex::compile(text, options);
  ASSAY_CHECK_EQ(regex.status().message(), std::string());
  return std::move(regex).value();
}

std::vector<RegexMatch> matches_in(const Regex& regex, std::string_view text) {
  Result<std::vector<RegexMatch>> matches = regex.find_all(text);
  return matches.ok() ? std::move(matches).value() : std::vector<RegexMatch>();
}

std::vector<std::string> found_in(const Regex& regex, std::string_view text) {
  std::vector<std::string> found;
  for (const RegexMatch& match : matches_in(regex, text)) {
    found.emplace_back(text.substr(match.begin(), match.end() - match.begin()));
  }
  return found;
}

std::vector<std::string_view> split_at(const Regex& regex, std::string_view text) {
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  for (const RegexMatch& match : matches_in(regex, text)) {
    pieces.push_back(text.substr(begin, match.begin() - begin));
    begin = match.end();
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

std::string substituted(const Regex& regex, std::string_view text, std::string_view form) {
  std::string out;
  size_t begin = 0;
  for (const RegexMatch& match : matches_in(regex, text)) {
    out.append(text.substr(begin, match.begin() - begin));
    for (size_t i = 0; i < form.size(); ++i) {
      if (form[i] != '\\') {
        out.push_back(form[i]);
        continue;
      }
      const RegexMatch::Span& group = match.groups[static_cast<size_t>(form[++i] - '0')];
      if (group.matched()) out.append(text.substr(group.begin, group.end - group.begin));
    }
    begin = match.end();
  }
  return out.append(text.substr(begin));
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const bool space = is_unicode_space(next_code_point(text, i));
    if (inside && space) words.push_back(text.substr(begin, at - begin));
    if (!inside && !space) begin = at;
    inside = !space;
  }
  if (inside) words.push_back(text.substr(begin));
  return words;
}

std::string_view stripped_of(std::string_view text, char c) {
  while (!text.empty() && text.front() == c) text.remove_prefix(1);
  while (!text.empty() && text.back() == c) text.remove_suffix(1);
  return text;
}

}  // namespace assay::ifeval
