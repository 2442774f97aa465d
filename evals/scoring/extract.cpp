#include "evals/scoring/extract.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "engine/base/regex.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

// Python's list[index]: negative counts from the end; nullopt outside.
std::optional<size_t> python_index(int index, size_t size) {
  const int64_t at = index < 0 ? static_cast<int64_t>(size) + index : index;
  if (at < 0 || at >= static_cast<int64_t>(size)) return std::nullopt;
  return static_cast<size_t>(at);
}

// What re.findall(...)[group_select] stands for: the whole match, or its group; of several groups the first that is not
// empty. nullopt when nothing matched, or several groups are all empty.
Result<std::optional<std::string>> select_match(const Regex& regex, const std::string& text, int group_select) {
  Result<std::vector<RegexMatch>> matches = regex.find_all(text);
  // A text on which the pattern runs out of steps counts as one without an answer.
  if (!matches.ok()) return std::optional<std::string>();
  const std::optional<size_t> chosen = python_index(group_select, matches->size());
  if (!chosen) return std::optional<std::string>();
  const std::vector<RegexMatch::Span>& groups = (*matches)[*chosen].groups;
  auto text_of = [&](const RegexMatch::Span& span) {
    return span.matched() ? std::string_view(text).substr(span.begin, span.end - span.begin) : std::string_view();
  };
  if (groups.size() <= 2) return std::optional<std::string>(py_strip(text_of(groups.back())));
  for (size_t i = 1; i < groups.size(); ++i) {
    if (std::string_view found = text_of(groups[i]); !found.empty()) return std::optional<std::string>(py_strip(found));
  }
  return std::optional<std::string>();
}

Result<std::optional<std::string>> search(const std::string& pattern, const std::string& text, int group_select) {
  ASSAY_ASSIGN(Regex regex, Regex::compile(pattern));
  return select_match(regex, text, group_select);
}

std::string without_punctuation(std::string_view text) {
  std::string kept;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    if (!is_unicode_punctuation(next_code_point(text, i))) kept.append(text.substr(begin, i - begin));
  }
  return kept;
}

std::string folded(std::string_view text, const FilterStep& step) {
  std::string result = step.ignore_case ? py_lower(text) : std::string(text);
  return step.ignore_punctuation ? without_punctuation(result) : result;
}

// How long Python's re.escape(text) would be, in code points: lm-eval tries the choices in that order, longest first.
size_t escaped_length(std::string_view text) {
  constexpr std::string_view kEscaped = "()[]{}?*+-|^$\\.&~# \t\n\r\v\f";
  const auto escaped =
      std::count_if(text.begin(), text.end(), [&](char c) { return kEscaped.find(c) != std::string_view::npos; });
  return count_code_points(text) + static_cast<size_t>(escaped);
}

std::string letter_of(size_t choice) { return std::string(1, static_cast<char>('A' + choice)); }

// A choice's own text in the response, as its letter in parentheses.
Result<std::optional<std::string>> find_choice_text(const FilterStep& step, const std::string& text,
                                                    const std::vector<std::string>& choices) {
  std::vector<std::string> bare;
  std::map<std::string, std::string> letters;  // of equal choices the later one wins
  for (size_t i = 0; i < choices.size(); ++i) {
    bare.push_back(folded(py_strip(choices[i]), step));
    letters[bare.back()] = fmt::format("({})", letter_of(i));
  }
  std::stable_sort(bare.begin(), bare.end(),
                   [](const auto& a, const auto& b) { return escaped_length(a) > escaped_length(b); });
  for (std::string& choice : bare) choice = regex_escape(choice);
  ASSAY_ASSIGN(std::optional<std::string> found, search(join(bare, "|"), folded(text, step), step.group_select));
  if (found && !found->empty() && letters.contains(*found)) found = letters[*found];
  return found;
}

// A colon and a choice's letter.
Result<std::optional<std::string>> find_letter(const FilterStep& step, const std::string& text, size_t num_choices) {
  std::vector<std::string> letters;
  for (size_t i = 0; i < num_choices; ++i) letters.push_back(letter_of(i));
  ASSAY_ASSIGN(std::optional<std::string> found,
               search(fmt::format(":[\\s]*({})", join(letters, "|")), text, step.group_select));
  if (found && !found->empty()) found = fmt::format("({})", *found);
  return found;
}

Result<std::string> multi_choice(const FilterStep& step, const std::string& text,
                                 const std::vector<std::string>& choices) {
  ASSAY_ASSIGN(std::optional<std::string> found, search(step.pattern, text, step.group_select));
  if (found && !found->empty()) return *found;
  if (choices.empty()) return std::string(kInvalidAnswer);
  ASSAY_ASSIGN(found, find_choice_text(step, text, choices));
  if (found && !found->empty()) return *found;
  ASSAY_ASSIGN(found, find_letter(step, text, choices.size()));
  return found && !found->empty() ? *found : std::string(kInvalidAnswer);
}

Result<std::string> apply_step(const FilterStep& step, const std::string& text,
                               const std::vector<std::string>& choices) {
  switch (step.kind) {
    case FilterStep::Kind::regex: {
      ASSAY_ASSIGN(std::optional<std::string> found, search(step.pattern, text, step.group_select));
      return found ? *found : std::string(kInvalidAnswer);
    }
    case FilterStep::Kind::multi_choice_regex: return multi_choice(step, text, choices);
    case FilterStep::Kind::take_first: return text;
    case FilterStep::Kind::lowercase: return py_lower(text);
    case FilterStep::Kind::strip: return std::string(py_strip(text));
  }
  return text;
}

}  // namespace

Result<std::string> apply_filter(const Filter& filter, std::string_view response,
                                 const std::vector<std::string>& choices) {
  std::string text = replace_invalid_utf8(response);
  for (const FilterStep& step : filter.steps) {
    ASSAY_ASSIGN(text, apply_step(step, text, choices));
  }
  return text;
}

// One stop string after the other, as lm-eval cuts: where two overlap, the one listed first decides.
std::string cut_at_stop(std::string_view text, const std::vector<std::string>& until) {
  for (const std::string& stop : until) {
    if (!stop.empty()) text = text.substr(0, text.find(stop));
  }
  return std::string(text);
}

}  // namespace assay
